"""What happens in a generation, as its caller is told. The grammar is drawn in `protos/motet/v1/event.proto`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from motet.core.errors import MotetError
from motet.core.media import Media

TEXT = "text"
"""What a text part's modality is called."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """Media that the server keeps until `expire_time` (seconds since the epoch); `name` is "artifacts/..."."""

    name: str
    modality: str
    media_type: str
    size_bytes: int
    sha256: bytes
    expire_time: float


@dataclass(frozen=True, slots=True)
class Accepted:
    """Always first. `deadline` is in seconds since the epoch, None for never."""

    generation: str
    seed: int
    deadline: float | None = None
    deduplicated: bool = False


@dataclass(frozen=True, slots=True)
class PlanNode:
    """One media part to be made."""

    part_id: str
    modality: str
    depends_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlanGrown:
    """The media parts known so far; a later plan holds every node of an earlier one."""

    nodes: tuple[PlanNode, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class PartStarted:
    """Opens a part. `index` is its place in the answer; `text_anchor` counts the code points written before it."""

    part_id: str
    index: int
    modality: str
    media_type: str
    text_anchor: int
    caption: str = ""


@dataclass(frozen=True, slots=True)
class PartDelta:
    """A piece of a part's content; `offset` is in code points for text, in bytes for media."""

    part_id: str
    offset: int
    chunk: str | bytes


@dataclass(frozen=True, slots=True)
class PartProgress:
    """`step` of `total` denoising steps are done."""

    part_id: str
    step: int
    total: int
    preview: Media | None = None


@dataclass(frozen=True, slots=True)
class PartDone:
    """Closes a complete part. `artifact` is None for text; `sha256` is of the media, or of the text as UTF-8."""

    part_id: str
    sha256: bytes
    artifact: Artifact | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartFailed:
    """Closes a part that will not be complete. `fallback_part_id` is "" unless a text part stands in for it."""

    part_id: str
    error: MotetError
    retryable: bool = False
    fallback_part_id: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """What was spent so far; `elapsed` is in seconds since acceptance."""

    input_tokens: int = 0
    output_tokens: int = 0
    decoder_steps: int = 0
    elapsed: float = 0.0


class State(Enum):
    """How far a generation is."""

    RUNNING = 1
    SUCCEEDED = 2
    PARTIAL = 3
    FAILED = 4
    CANCELLED = 5


@dataclass(frozen=True, slots=True)
class Generation:
    """The record of one request. `error` says why it failed or was cancelled; times are in seconds since the epoch."""

    name: str
    state: State
    parts: tuple[PartDone, ...] = ()
    failures: tuple[PartFailed, ...] = ()
    usage: Usage = Usage()
    error: MotetError | None = None
    create_time: float = 0.0
    expire_time: float | None = None
    last_sequence: int = 0


@dataclass(frozen=True, slots=True)
class Done:
    """Always last."""

    generation: Generation


EventPayload = Accepted | PlanGrown | PartStarted | PartDelta | PartProgress | PartDone | PartFailed | Usage | Done


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened. `sequence` counts from 1 without gaps; `time` is in seconds since the epoch."""

    sequence: int
    time: float
    payload: EventPayload
