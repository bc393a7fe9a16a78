"""The stages of requests: each duration becomes an observation of a histogram and, with tracing, a span.

Stages are measured where the work happens, in the process and on the thread that does it. There are three forms:
`stage` for a block of code, `record_stage` for times that were measured elsewhere, and `StageTimer` for consecutive
stages, which have no gaps.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from threading import Lock
from types import MappingProxyType, TracebackType
from typing import Protocol, Self

from motet.core.clock import now
from motet.core.telemetry.families.stage_metrics import STAGE_SECONDS
from motet.core.telemetry.prometheus import labelled
from motet.core.telemetry.service_kind import ServiceKind


class Stage(StrEnum):
    """A stage of a request's work. It is the value of the label `stage`."""

    PROBE = "probe"
    """Detection of the type of a caller's media."""
    DECODE = "decode"
    """Decoding of media into pixels or samples, in a child process."""
    PREPROCESS = "preprocess"
    """Preparation of decoded media for a network."""
    QUEUE = "queue"
    """Wait for a replica, or in a replica for memory or a thread."""
    CALL = "call"
    """Call of a worker as the orchestrator sees it: all stages of the worker, and the network."""
    BATCH_WAIT = "batch_wait"
    """Wait of accepted work for a batch that includes it."""
    FORWARD = "forward"
    """Forwards of the encoder that include the item."""
    PREFILL = "prefill"
    """Forwards of the language model until the first token of an answer."""
    DECODE_STEP = "decode_step"
    """Forwards of the language model from the first token of an answer to its last one."""
    DENOISE = "denoise"
    """Denoising steps of a decoder."""
    VAE = "vae"
    """Decoding of latents into pixels or samples."""
    MEDIA_ENCODE = "media_encode"
    """Encoding of pixels or samples as a file."""
    TRANSFER = "transfer"
    """Transfer of media between the orchestrator and a worker."""


OTHER = "other"
"""Label of modalities that are not those of the bundle, or not known. Labels must be a closed set."""

Attributes = Mapping[str, str | int | float | bool]
_NO_ATTRIBUTES: Attributes = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class StageInterval:
    """A finished stage. `start` and `end` are times of `now()`. `owner` is a result of `StageObserver.owner`.

    `attributes` are numbers and names for a span, such as the number of steps. They are no labels, and have no prompts.
    """

    component: ServiceKind
    stage: Stage
    modality: str
    start: float
    end: float
    owner: object
    attributes: Attributes


class StageObserver(Protocol):
    """An observer of all stages of this process, for example a tracer. Any thread calls it."""

    def owner(self) -> object:
        """Return the owner of the stages that the running code starts: what their spans need of its request."""
        ...

    def observe(self, interval: StageInterval) -> dict[str, str] | None:
        """Receive a finished stage. Return the exemplar of its observation, or None."""
        ...


_observer: StageObserver | None = None


@contextmanager
def use_stage_observer(observer: StageObserver) -> Iterator[None]:
    """Make an observer the one of this process within the context."""
    global _observer
    before, _observer = _observer, observer
    try:
        yield
    finally:
        _observer = before


def stage_owner() -> object:
    """Return the owner of the running code's stages, for `record_stage` on another thread. None without observer."""
    return None if _observer is None else _observer.owner()


def record_stage(
    component: ServiceKind,
    stage: Stage,
    modality: str,
    start: float,
    end: float,
    *,
    owner: object = None,
    attributes: Attributes = _NO_ATTRIBUTES,
) -> None:
    """Record a stage from `start` to `end`, which are times of `now()`.

    The modality is one of the bundle's, or `OTHER`. `owner` is the result of `stage_owner` in the code that submitted
    the work; by default, it is the owner of the running code.
    """
    exemplar = _observed(component, stage, modality, start, end, owner, attributes)
    labelled(STAGE_SECONDS, component, stage, modality).observe(end - start, exemplar)


class stage:  # noqa: N801 - it reads as a noun: `with stage(...)`
    """Record the time within the context as a stage, also if the context ends with an error."""

    __slots__ = ("_attributes", "_component", "_modality", "_owner", "_stage", "_start")

    def __init__(
        self, component: ServiceKind, stage: Stage, modality: str, *, attributes: Attributes = _NO_ATTRIBUTES
    ) -> None:
        self._component = component
        self._stage = stage
        self._modality = modality
        self._attributes = attributes

    def __enter__(self) -> Self:
        self._owner = stage_owner()
        self._start = now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        record_stage(
            self._component,
            self._stage,
            self._modality,
            self._start,
            now(),
            owner=self._owner,
            attributes=self._attributes,
        )


class StageTimer:
    """The consecutive stages of one job. Each moment from the timer's creation to `end` belongs to exactly one stage.

    The code that works for the request creates the timer, and any thread may use it afterwards. A stage
    that occurs several times is one observation with the sum of its seconds, but an interval for each occurrence. The
    timer is a context manager, which calls `end`.
    """

    __slots__ = ("_component", "_exemplars", "_lock", "_modality", "_owner", "_seconds", "_stage", "_start")

    def __init__(self, component: ServiceKind, modality: str, stage: Stage) -> None:
        self._component = component
        self._modality = modality
        self._stage: Stage | None = stage
        self._seconds: dict[Stage, float] = {}
        self._exemplars: dict[Stage, dict[str, str] | None] = {}
        self._lock = Lock()
        self._owner = stage_owner()
        self._start = now()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def enter(self, stage: Stage, at: float | None = None, attributes: Attributes = _NO_ATTRIBUTES) -> None:
        """End the current stage, which has these attributes, and start another one, at a time of `now()`.

        Do nothing if it is the current stage, or after `end`.
        """
        with self._lock:
            if self._stage is not None and stage is not self._stage:
                self._leave(self._stage, now() if at is None else at, attributes)
                self._stage = stage

    def end(self, at: float | None = None, attributes: Attributes = _NO_ATTRIBUTES) -> None:
        """End the current stage, which has these attributes, and record all stages. Later calls do nothing."""
        with self._lock:
            if self._stage is None:
                return
            self._leave(self._stage, now() if at is None else at, attributes)
            self._stage = None
        for stage, seconds in self._seconds.items():
            labelled(STAGE_SECONDS, self._component, stage, self._modality).observe(seconds, self._exemplars[stage])

    def _leave(self, stage: Stage, at: float, attributes: Attributes) -> None:
        start, self._start = self._start, at
        self._seconds[stage] = self._seconds.get(stage, 0.0) + at - start
        self._exemplars[stage] = _observed(self._component, stage, self._modality, start, at, self._owner, attributes)


def _observed(
    component: ServiceKind,
    stage: Stage,
    modality: str,
    start: float,
    end: float,
    owner: object,
    attributes: Attributes,
) -> dict[str, str] | None:
    """Pass a stage to the observer, if there is one. Return the exemplar of its observation."""
    if _observer is None:
        return None
    owner = _observer.owner() if owner is None else owner
    return _observer.observe(StageInterval(component, stage, modality, start, end, owner, attributes))
