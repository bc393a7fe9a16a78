"""The inputs of media parts: a slot of a signal takes an earlier part or a medium of the conversation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from motet.core.errors import Reason, RequestError
from motet.core.events import PlanInput
from motet.core.media import Media, joined, sha256_of


@dataclass(slots=True, eq=False)
class ConversationMedium:
    """A medium of the conversation that a part of the answer may take as an input.

    `modalities` are the modalities that the medium fits. `artifact` is its name in the artifact store, "" if it is not
    stored. An artifact's bytes are `chunks` until `load` joins them in `media`.
    """

    modalities: tuple[str, ...]
    media: Media
    artifact: str = ""
    chunks: tuple[bytes, ...] = ()

    async def load(self) -> Media:
        """Return the medium with its bytes and its digest. A thread joins and hashes large media."""
        if not self.media.data:
            self.media = Media(self.media.media_type, await joined(self.chunks))
        await sha256_of(self.media)  # the media keep their digest, which the decoder's caller needs
        return self.media


@dataclass(frozen=True, slots=True)
class PartInput:
    """A resolved input of a part: the id of an earlier part, or a medium of the conversation."""

    modality: str
    source: str | ConversationMedium

    @property
    def planned(self) -> PlanInput:
        """The input in a plan. A medium of the conversation must be stored before."""
        if isinstance(self.source, str):
            return PlanInput(self.modality, part_id=self.source)
        return PlanInput(self.modality, artifact=self.source.artifact)


class InputResolver:
    """Resolves the inputs of the parts of one answer.

    `takes` maps a modality to its slots, and a slot lists the modalities that fit. The result depends only on the order
    of the signals and on the conversation, never on timing. `conversation` is in order, the newest medium last.
    """

    def __init__(
        self, takes: Mapping[str, Sequence[Sequence[str]]], conversation: Sequence[ConversationMedium] = ()
    ) -> None:
        self._takes = takes
        self._conversation = conversation
        self._parts: list[PartInput] = []

    def add(self, part_id: str, modality: str) -> None:
        """Add a part that has a media job. Later parts may take it."""
        self._parts.append(PartInput(modality, part_id))

    def resolve(self, modality: str) -> tuple[PartInput, ...]:
        """Return one input for each slot of a modality. Raises `RequestError` if there is nothing to take."""
        return tuple(self._resolve(modality, slot) for slot in self._takes.get(modality, ()))

    def _resolve(self, modality: str, slot: Sequence[str]) -> PartInput:
        found = next((part for part in reversed(self._parts) if part.modality in slot), None)
        found = found or next(self._conversation_inputs(slot), None)
        if found is None:
            takes = " or ".join(slot)
            raise RequestError(
                f"{modality} is made from {takes}, but the answer before it and the conversation have none; "
                f"attach {takes}, or request it first",
                Reason.INPUT_MISSING,
                {"modality": modality, "takes": ",".join(slot)},
            )
        return found

    def _conversation_inputs(self, slot: Sequence[str]) -> Iterator[PartInput]:
        """Yield the media of the conversation that fit a slot, newest first."""
        for medium in reversed(self._conversation):
            for modality in medium.modalities:
                if modality in slot:
                    yield PartInput(modality, medium)
