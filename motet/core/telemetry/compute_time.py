"""The compute time of requests: the seconds for which their work occupied a GPU and a CPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from motet.core.telemetry.service_kind import ServiceKind


@dataclass(slots=True)
class ComputeTime:
    """Compute time, in seconds: of a GPU, and of the CPU of the threads that ran the batches.

    `batches` is the number of batches that had a part of the work, `batch_items` the sum of their sizes.
    """

    gpu: float = 0.0
    cpu: float = 0.0
    batches: int = 0
    batch_items: int = 0

    @property
    def mean_batch_size(self) -> float:
        """The mean number of pieces of work in the batches, 0.0 without batches."""
        return self.batch_items / self.batches if self.batches else 0.0


def total_time(times: Iterable[ComputeTime]) -> ComputeTime:
    """Return the sum of compute times."""
    total = ComputeTime()
    for time in times:
        total.gpu += time.gpu
        total.cpu += time.cpu
        total.batches += time.batches
        total.batch_items += time.batch_items
    return total


class ComputeTimes:
    """The compute times of the work for one request or for one call. Any thread may use it.

    Each piece of work has a compute time of its own, which grows while the work runs. So the times of work that fails
    or is cancelled are known, too. The work is also among that of `parent`.
    """

    def __init__(self, parent: ComputeTimes | None = None) -> None:
        self._parent = parent
        self._times: dict[tuple[ServiceKind, str], list[ComputeTime]] = {}

    def start(self, component: ServiceKind, modality: str) -> ComputeTime:
        """Return the compute time of a new piece of work, to which that work adds its seconds."""
        time = ComputeTime() if self._parent is None else self._parent.start(component, modality)
        self._times.setdefault((component, modality), []).append(time)
        return time

    def totals(self) -> Mapping[tuple[ServiceKind, str], ComputeTime]:
        """Return the sums so far, by the component and the modality, without those of 0 s."""
        sums = {key: total_time(times) for key, times in list(self._times.items())}
        return {key: time for key, time in sums.items() if time.gpu or time.cpu}

    def total_of(self, component: ServiceKind) -> ComputeTime:
        """Return the sum so far of a component's work."""
        return total_time(time for (each, _), time in self.totals().items() if each is component)


_CURRENT: ContextVar[ComputeTimes | None] = ContextVar("compute_times", default=None)


def collect_compute_times() -> ComputeTimes:
    """Return the compute times of the work that the current task, and its new tasks, start from now on.

    Work that several requests share belongs to the request whose task started it.
    """
    times = ComputeTimes()
    _CURRENT.set(times)
    return times


@contextmanager
def job_compute_times() -> Iterator[None]:
    """Let the work that the current task starts within the context have compute times of its own.

    They are also among those that the task had before.
    """
    token = _CURRENT.set(ComputeTimes(_CURRENT.get()))
    try:
        yield
    finally:
        _CURRENT.reset(token)


def current_compute_times() -> ComputeTimes:
    """Return the compute times of the current task. If the task collects none, nothing reads the result."""
    times = _CURRENT.get()
    return ComputeTimes() if times is None else times
