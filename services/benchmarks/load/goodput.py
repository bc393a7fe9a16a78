"""The goodput of a load: requests a second that met their latency objectives."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from services.benchmarks.load.client_trace import ClientTrace, latencies
from services.benchmarks.reports.statistics import percentile, percentiles


@dataclass(frozen=True, slots=True)
class LatencyObjective:
    """The maximum latencies of a request, in seconds; None sets no maximum."""

    first_text: float | None = None
    first_media: float | None = None
    total: float | None = None

    def met_by(self, trace: ClientTrace) -> bool:
        """Return True if a request succeeded and exceeded no maximum."""
        pairs = (
            (trace.first_text, self.first_text),
            (trace.first_media, self.first_media),
            (trace.total, self.total),
        )
        return trace.succeeded and all(
            latency is None or maximum is None or latency <= maximum for latency, maximum in pairs
        )


@dataclass(frozen=True, slots=True)
class LoadResult:
    """The result of one load: the offered requests a second, its duration in seconds, and the trace of each request."""

    rate: float
    seconds: float
    traces: Sequence[ClientTrace]

    @property
    def uncancelled(self) -> list[ClientTrace]:
        """The traces of requests that their clients did not cancel."""
        return [trace for trace in self.traces if trace.cancelled_after is None]

    def share_met(self, objective: LatencyObjective) -> float:
        """Return the share of uncancelled requests that met the objective; 1.0 without requests."""
        traces = self.uncancelled
        return sum(map(objective.met_by, traces)) / len(traces) if traces else 1.0

    def goodput(self, objective: LatencyObjective) -> float:
        """Return the requests a second that met the objective."""
        return sum(map(objective.met_by, self.uncancelled)) / self.seconds

    def as_dict(self, objective: LatencyObjective) -> dict[str, Any]:
        """Return counts, goodput and latencies in seconds, for JSON."""
        uncancelled = self.uncancelled
        failed = [trace for trace in uncancelled if not trace.succeeded]
        latency = {kind: percentiles(seconds, 50, 90, 95, 99) for kind, seconds in latencies(uncancelled).items()}
        return {
            "rate": self.rate,
            "seconds": self.seconds,
            "sent": len(self.traces),
            "cancelled": len(self.traces) - len(uncancelled),
            "succeeded": len(uncancelled) - len(failed),
            "failed": dict(Counter(trace.failure for trace in failed)),
            "goodput": self.goodput(objective),
            "share_met": self.share_met(objective),
            "sent_late_p99": percentile([trace.sent_late for trace in self.traces], 99) if self.traces else None,
            "latency": latency,
        }


def best_goodput(loads: Sequence[LoadResult], objective: LatencyObjective, share: float = 0.9) -> float:
    """Return the highest goodput of the loads in which at least `share` of the requests met the objective; else 0."""
    good = [load for load in loads if load.share_met(objective) >= share]
    return max((load.goodput(objective) for load in good), default=0.0)
