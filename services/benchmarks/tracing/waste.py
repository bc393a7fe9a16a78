"""The work that workers do for a request after its client cancelled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.benchmarks.tracing.spans import WorkerSpan


@dataclass(frozen=True, slots=True)
class WastedWork:
    """Seconds of all work, and seconds of the work after cancellation.

    `idle_after` holds, for each worker that was busy at cancellation, the seconds until the worker was idle.
    """

    total: float
    wasted: float
    idle_after: tuple[float, ...]

    @property
    def share(self) -> float:
        """The share of the wasted work in all work."""
        return self.wasted / self.total if self.total else 0.0


def wasted_work(spans: Mapping[int, Sequence[WorkerSpan]], cancelled_at: Mapping[int, float]) -> WastedWork:
    """Return the wasted work of requests. Keys are their seeds.

    `cancelled_at` are the times of cancellation, on the clock of the spans. A call that starts after cancellation is
    wasted from its start.
    """
    total, wasted, idle_after = 0.0, 0.0, []
    for seed, calls in spans.items():
        total += sum(span.end - span.start for span in calls)
        if (cancelled := cancelled_at.get(seed)) is not None:
            wasted += sum(max(0.0, span.end - max(cancelled, span.start)) for span in calls)
            idle_after += [span.end - cancelled for span in calls if span.end > cancelled]
    return WastedWork(total, wasted, tuple(idle_after))
