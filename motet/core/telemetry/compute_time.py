"""The compute time of requests: the seconds for which their work occupied a GPU and a CPU."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass

from motet.core.telemetry.service_kind import ServiceKind


@dataclass(slots=True)
class ComputeTime:
    """Compute time, in seconds: of a GPU, and of the CPU of the threads that ran the batches."""

    gpu: float = 0.0
    cpu: float = 0.0


class ComputeTimes:
    """The compute times of the work for one request or for one call. Any thread may use it.

    Each piece of work has a compute time of its own, which grows while the work runs. So the times of work that fails
    or is cancelled are known, too.
    """

    def __init__(self) -> None:
        self._times: dict[tuple[ServiceKind, str], list[ComputeTime]] = {}

    def start(self, component: ServiceKind, modality: str) -> ComputeTime:
        """Return the compute time of a new piece of work, to which that work adds its seconds."""
        time = ComputeTime()
        self._times.setdefault((component, modality), []).append(time)
        return time

    def totals(self) -> Mapping[tuple[ServiceKind, str], ComputeTime]:
        """Return the sums so far, by the component and the modality, without those of 0 s."""
        sums = {
            key: ComputeTime(sum(time.gpu for time in times), sum(time.cpu for time in times))
            for key, times in list(self._times.items())
        }
        return {key: time for key, time in sums.items() if time.gpu or time.cpu}


_CURRENT: ContextVar[ComputeTimes | None] = ContextVar("compute_times", default=None)


def collect_compute_times() -> ComputeTimes:
    """Return the compute times of the work that the current task, and its new tasks, start from now on.

    Work that several requests share belongs to the request whose task started it.
    """
    times = ComputeTimes()
    _CURRENT.set(times)
    return times


def current_compute_times() -> ComputeTimes:
    """Return the compute times of the current task. If the task collects none, nothing reads the result."""
    times = _CURRENT.get()
    return ComputeTimes() if times is None else times
