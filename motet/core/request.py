"""What a caller asks for, on whichever side of a wire it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from motet.core.media import Media
from motet.core.workers import Role


@dataclass(frozen=True, slots=True)
class ArtifactName:
    """Names media that the server already holds, "artifacts/..."."""

    name: str


PRIORITIES = range(-2, 3)
"""From work that can wait (-2) to work that somebody waits for (2); 0 is usual."""

Content = str | Media | ArtifactName


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation as a caller gives it: text and media, in order."""

    role: Role
    parts: tuple[Content, ...]


class FailurePolicy(Enum):
    """What a failed part does to the rest."""

    BEST_EFFORT = "best effort"
    """The other parts go on."""
    ALL_OR_NOTHING = "all or nothing"
    """The other parts are stopped and the generation fails."""
    TEXT_FALLBACK = "text fallback"
    """The other parts go on; a text part with the failed part's caption stands in for it."""


@dataclass(frozen=True, slots=True)
class DecoderOptions:
    """How one decoder is driven; None is the model's own setting.

    `min_steps` lets it take fewer steps, but no fewer than this, where the deadline would be missed otherwise; None
    is no leave to.
    """

    steps: int | None = None
    guidance: float | None = None
    min_steps: int | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """One conversation to be answered. Its meaning, field by field, is that of `motet.v1.GenerateRequest`.

    None stands for what the message leaves out: `allowed_modalities` None is all, an empty set is text only.
    Limits over the server's own are lowered to them. `timeout` is in seconds. `priority` is within `PRIORITIES`, and
    the higher goes first; the server lowers it to its own ceiling.
    """

    turns: tuple[Message, ...]
    model: str = ""
    request_id: str = ""
    allowed_modalities: frozenset[str] | None = None
    failure_policy: FailurePolicy = FailurePolicy.BEST_EFFORT
    seed: int | None = None
    detach: bool = False
    previews: bool = False
    max_output_tokens: int | None = None
    max_parts: Mapping[str, int] = field(default_factory=dict)
    timeout: float | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    decoder_options: Mapping[str, DecoderOptions] = field(default_factory=dict)
    tenant: str = ""
    priority: int = 0
