"""The request of a caller, used by the client and the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from motet.core.media import Media
from motet.core.workers import Role


@dataclass(frozen=True, slots=True)
class ArtifactName:
    """The name of media that the server stores, "artifacts/..."."""

    name: str


PRIORITIES = range(-2, 3)
"""The priorities, from -2 (lowest) to 2 (highest). The default is 0."""

Content = str | Media | ArtifactName


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation in a request: text and media, in order."""

    role: Role
    parts: tuple[Content, ...]


class FailurePolicy(Enum):
    """The effect of a failed part on the other parts."""

    BEST_EFFORT = "best effort"
    """The other parts continue."""
    ALL_OR_NOTHING = "all or nothing"
    """The other parts are cancelled and the generation fails."""
    TEXT_FALLBACK = "text fallback"
    """The other parts continue. A text part with the failed part's caption replaces the failed part."""


@dataclass(frozen=True, slots=True)
class DecoderOptions:
    """The options of one decoder. None selects the model's default.

    With `min_steps` the decoder may reduce the steps to meet the deadline, but not below this number. None allows no
    reduction.
    """

    steps: int | None = None
    guidance: float | None = None
    min_steps: int | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A request to answer a conversation. `motet.v1.GenerateRequest` describes every field.

    None means that the field is absent. `allowed_modalities` None allows all modalities, an empty set allows only text.
    `timeout` is in seconds. `priority` is in `PRIORITIES`; higher priorities run first. The server reduces a limit or a
    priority above its own maximum to this maximum.
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
