"""A request that was admitted: all it names is at hand, and all it leaves open is settled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.request import DecoderOptions, FailurePolicy
from motet.core.workers import Role


@dataclass(frozen=True, slots=True)
class AdmittedMedia:
    """Media in a prompt, and of which modality their bytes proved to be."""

    modality: str
    media: Media


@dataclass(frozen=True, slots=True)
class AdmittedTurn:
    """One turn of the conversation."""

    role: Role
    parts: tuple[str | AdmittedMedia, ...]


@dataclass(frozen=True, slots=True)
class AdmittedRequest:
    """What a generation is to do.

    `ceilings` says how many parts of each modality may be made; one that it leaves out may not be made at all, and
    its reason is that the caller did not allow it. `deadline` is when `Done` must be told.
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

    @property
    def attachments(self) -> tuple[AdmittedMedia, ...]:
        """All media of the conversation, in order."""
        return tuple(part for turn in self.turns for part in turn.parts if isinstance(part, AdmittedMedia))
