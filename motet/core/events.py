"""The events of a generation. `protos/motet/v1/event.proto` defines their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from motet.core.errors import MotetError
from motet.core.media import Media

TEXT = "text"
"""The modality of a text part."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """Media that the server stores until `expire_time`, in seconds since the epoch. `name` is "artifacts/..."."""

    name: str
    modality: str
    media_type: str
    size_bytes: int
    sha256: bytes
    expire_time: float


@dataclass(frozen=True, slots=True)
class Accepted:
    """The first event of a generation. `deadline` is in seconds since the epoch, or None."""

    generation: str
    seed: int
    deadline: float | None = None
    deduplicated: bool = False


@dataclass(frozen=True, slots=True)
class PlanInput:
    """An input of a planned part: an earlier part of the answer, or a medium of the conversation by its artifact.

    Either `part_id` or `artifact` is set, the other is "".
    """

    modality: str
    part_id: str = ""
    artifact: str = ""


@dataclass(frozen=True, slots=True)
class PlanNode:
    """A planned media part and its inputs, in the order in which its decoder takes them."""

    part_id: str
    modality: str
    inputs: tuple[PlanInput, ...] = ()

    @property
    def depends_on(self) -> tuple[str, ...]:
        """The earlier parts whose media are inputs of this part, in order."""
        return tuple(source.part_id for source in self.inputs if source.part_id)


@dataclass(frozen=True, slots=True)
class PlanGrown:
    """The plan with all media parts known until now. A later plan contains every node of an earlier plan."""

    nodes: tuple[PlanNode, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class PartStarted:
    """The start of a part. `index` is its position in the answer, `text_anchor` the number of code points before it."""

    part_id: str
    index: int
    modality: str
    media_type: str
    text_anchor: int
    caption: str = ""


@dataclass(frozen=True, slots=True)
class PartDelta:
    """A chunk of a part's content. `offset` is in code points for text, in bytes for media."""

    part_id: str
    offset: int
    chunk: str | bytes


@dataclass(frozen=True, slots=True)
class PartProgress:
    """The progress of a media part: `step` of `total` denoising steps are done."""

    part_id: str
    step: int
    total: int
    preview: Media | None = None


@dataclass(frozen=True, slots=True)
class PartDone:
    """The end of a complete part. `artifact` is None for text. `sha256` is of the media, or of the text as UTF-8."""

    part_id: str
    sha256: bytes
    artifact: Artifact | None = None
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PartFailed:
    """The end of a failed part. `fallback_part_id` names the text part that replaces the failed part, "" for none."""

    part_id: str
    error: MotetError
    retryable: bool = False
    fallback_part_id: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """The resources used until now. `elapsed` is in seconds since `Accepted`.

    `omitted_turns` is the number of the conversation's oldest turns that the language model did not read, because they
    did not fit.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    decoder_steps: int = 0
    elapsed: float = 0.0
    omitted_turns: int = 0


class State(Enum):
    """The state of a generation."""

    RUNNING = 1
    SUCCEEDED = 2
    PARTIAL = 3
    FAILED = 4
    CANCELLED = 5


class CallSource(Enum):
    """The origin of the result of a call to a worker."""

    UNKNOWN = 0
    WORKER = 1
    """A worker that ran for this call."""
    CACHE = 2
    """The cache of finished media."""
    SHARED = 3
    """An equal call of the same tenant that ran already."""


@dataclass(frozen=True, slots=True)
class WorkerCall:
    """The time that one call to a worker took. `component` is "encoder", "llm" or "decoder".

    `part_id` is the media part that a decoder made, "" for other workers. `requested`, `start` and `end` are in seconds
    since `Accepted`. The language model had requested the part at `requested`, which is None for other workers. `end`
    is None if the call runs, or ended after the generation. `queue_wait` is the number of seconds from the start until
    a replica took the call, None if none took it. `replica` is the replica's ordinal in its pool, None if it has none.
    `attempts` is the number of times that the call was sent to a replica. `gpu_seconds` and `cpu_seconds` are the
    call's share of the batches that computed for it. `mean_batch_size` is the mean number of calls in these batches,
    0.0 without batches.
    """

    component: str
    start: float
    end: float | None = None
    part_id: str = ""
    source: CallSource = CallSource.UNKNOWN
    requested: float | None = None
    queue_wait: float | None = None
    replica: int | None = None
    attempts: int = 0
    gpu_seconds: float = 0.0
    cpu_seconds: float = 0.0
    mean_batch_size: float = 0.0


@dataclass(frozen=True, slots=True)
class Generation:
    """The record of one request. `error` is set if it failed or was cancelled. Times are in seconds since the epoch.

    `calls` are the calls to workers, in the order in which they began.
    """

    name: str
    state: State
    parts: tuple[PartDone, ...] = ()
    failures: tuple[PartFailed, ...] = ()
    usage: Usage = Usage()
    error: MotetError | None = None
    create_time: float = 0.0
    expire_time: float | None = None
    last_sequence: int = 0
    calls: tuple[WorkerCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Done:
    """The last event of a generation."""

    generation: Generation


EventPayload = Accepted | PlanGrown | PartStarted | PartDelta | PartProgress | PartDone | PartFailed | Usage | Done


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a generation. `sequence` counts from 1 without gaps. `time` is in seconds since the epoch."""

    sequence: int
    time: float
    payload: EventPayload
