"""A request that was admitted: its media are loaded, and every option has a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.request import DecoderOptions, FailurePolicy
from motet.core.workers import Role
from orchestrator.generation.part_inputs import ConversationMedium


@dataclass(frozen=True, slots=True)
class AdmittedMedia:
    """Media in a prompt, and the modality that was detected from their bytes."""

    modality: str
    media: Media


@dataclass(frozen=True, slots=True)
class AdmittedTurn:
    """One turn of the conversation."""

    role: Role
    parts: tuple[str | AdmittedMedia, ...]


@dataclass(frozen=True, slots=True)
class AdmittedRequest:
    """The input of a generation.

    `ceilings` is the maximum number of parts of each modality. A modality without a ceiling is not allowed by the
    caller. `deadline` is the time at which the generation is stopped. `takeable` are the media of the conversation that
    parts of the answer may take as inputs, the newest last.
    """

    turns: tuple[AdmittedTurn, ...]
    ceilings: Mapping[str, int]
    seed: int
    deadline: Deadline
    max_tokens: int
    failure_policy: FailurePolicy = FailurePolicy.BEST_EFFORT
    previews: bool = False
    temperature: float = 0.0
    top_p: float = 1.0
    decoder_options: Mapping[str, DecoderOptions] = field(default_factory=dict)
    tenant: str = ""
    priority: int = 0
    takeable: tuple[ConversationMedium, ...] = ()

    @property
    def attachments(self) -> tuple[AdmittedMedia, ...]:
        """The media of the user's turns, in order. Media of the assistant need no encoding."""
        return tuple(
            part for turn in self.turns if turn.role == "user" for part in turn.parts if isinstance(part, AdmittedMedia)
        )

    @property
    def unstored_bytes(self) -> int:
        """The size of the attached media that become artifacts if a part takes them, in bytes."""
        return sum(len(medium.media.data) for medium in self.takeable if not medium.artifact)
