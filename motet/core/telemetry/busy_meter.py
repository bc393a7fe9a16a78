"""The busy seconds of a device, for the batches of one engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, Self

from motet.core.telemetry.compute_time import ComputeTime
from motet.core.telemetry.families.busy_metrics import CPU_BUSY_SECONDS, GPU_BUSY_SECONDS
from motet.core.telemetry.prometheus import labelled
from motet.core.telemetry.service_kind import ServiceKind


@dataclass(frozen=True, slots=True)
class Share:
    """The share of one item in a batch, in proportion to its `weight`. Its seconds are added to `time`."""

    modality: str
    time: ComputeTime
    weight: float = 1.0


class DeviceEvent(Protocol):
    """An event on a stream of a GPU, as `torch.cuda.Event` with times."""

    def record(self) -> None:
        """Put the event behind the work that the current stream has so far."""
        ...

    def query(self) -> bool:
        """Return whether the GPU has passed the event, without waiting."""
        ...

    def elapsed_time(self, end_event: Self) -> float:
        """Return the milliseconds between two events that the GPU has passed."""
        ...


@dataclass(frozen=True, slots=True)
class DeviceEvents:
    """The events of a GPU with a UUID. `create` returns a new event."""

    create: Callable[[], DeviceEvent]
    gpu_uuid: str


@dataclass(frozen=True, slots=True)
class _Batch:
    start: DeviceEvent
    end: DeviceEvent
    shares: Sequence[Share]


class BusyMeter:
    """A meter of the busy seconds of a component's batches. Any thread may use it.

    The GPU seconds of a batch are those between two events on the current stream, and include gaps in which the GPU
    waits for its CPU. Nothing waits for the GPU: `collect` reads the events that the GPU has passed. The CPU seconds
    are those of the thread that runs the batch. `events` is None without a GPU. The seconds of `modalities` begin at 0.
    """

    def __init__(self, component: ServiceKind, modalities: Iterable[str], events: DeviceEvents | None = None) -> None:
        self._component = component
        self._events = events
        self._lock = threading.Lock()
        self._running: list[_Batch] = []
        """The batches whose events the GPU may not have passed."""
        self._unused: list[DeviceEvent] = []
        for modality in modalities:
            labelled(CPU_BUSY_SECONDS, component, modality)
            if events is not None:
                labelled(GPU_BUSY_SECONDS, component, modality, events.gpu_uuid)

    @contextmanager
    def measure(self, shares: Sequence[Share]) -> Iterator[None]:
        """Count the work within the context, which is that of one batch. The batch counts also if it fails."""
        started = time.thread_time()
        start = self._recorded()
        try:
            yield
        finally:
            end = self._recorded()
            with self._lock:
                _count_batch(shares)
                self._charge_cpu(shares, time.thread_time() - started)
                if start is not None and end is not None:
                    self._running.append(_Batch(start, end, shares))
            self.collect()

    def collect(self) -> None:
        """Count the GPU seconds of all batches that the GPU has finished. This call never waits for the GPU.

        Call it when the result of a batch has reached the CPU: then the GPU has finished the batch.
        """
        if not self._running:
            return
        with self._lock:
            self._running = [batch for batch in self._running if not self._charge_gpu(batch)]

    def _recorded(self) -> DeviceEvent | None:
        if self._events is None:
            return None
        with self._lock:
            event = self._unused.pop() if self._unused else self._events.create()
        event.record()
        return event

    def _charge_gpu(self, batch: _Batch) -> bool:
        """Count a batch, and return True, if the GPU has finished it."""
        if self._events is None or not batch.end.query():
            return False
        seconds = batch.start.elapsed_time(batch.end) / 1000
        self._unused += (batch.start, batch.end)
        for modality, part in _divided(batch.shares, seconds, _add_gpu):
            labelled(GPU_BUSY_SECONDS, self._component, modality, self._events.gpu_uuid).inc(part)
        return True

    def _charge_cpu(self, shares: Sequence[Share], seconds: float) -> None:
        for modality, part in _divided(shares, seconds, _add_cpu):
            labelled(CPU_BUSY_SECONDS, self._component, modality).inc(part)


def _count_batch(shares: Sequence[Share]) -> None:
    """Add a batch to each piece of work in it. Several shares of one piece of work count once."""
    spent = {id(share.time): share.time for share in shares}
    for each in spent.values():
        each.batches += 1
        each.batch_items += len(spent)


def _divided(
    shares: Sequence[Share], seconds: float, add: Callable[[ComputeTime, float], None]
) -> Iterator[tuple[str, float]]:
    """Divide seconds between shares, add each part to its share, and yield the sum of each modality."""
    total = sum(share.weight for share in shares)
    sums: dict[str, float] = {}
    for share in shares:
        part = seconds * share.weight / total
        add(share.time, part)
        sums[share.modality] = sums.get(share.modality, 0.0) + part
    yield from sums.items()


def _add_gpu(time: ComputeTime, seconds: float) -> None:
    time.gpu += seconds


def _add_cpu(time: ComputeTime, seconds: float) -> None:
    time.cpu += seconds
