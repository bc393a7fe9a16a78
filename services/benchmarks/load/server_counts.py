"""The counts of an orchestrator, from its metrics."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from services.benchmarks.load.metrics_page import read_metrics


@dataclass(frozen=True, slots=True)
class ServerCounts:
    """The counts of an orchestrator at one moment.

    `calls` counts ended public calls, with keys such as "Generate OK". `generations` counts ended generations. `left`
    is the work that has not ended: running calls and generations, and predicted seconds in the queues of the pools.
    """

    calls: Counter[str]
    generations: int
    left: float

    @classmethod
    async def read(cls, address: str) -> ServerCounts:
        """Return the counts now, from the metrics at an address."""
        metrics = await read_metrics(address)
        calls: Counter[str] = Counter()
        for sample in metrics.counters.of("motet_call_duration_seconds_count"):
            service, _, method = sample.labels["method"].rpartition("/")
            if service.startswith("/motet.v1."):
                calls[f"{method} {sample.labels['code']}"] += round(sample.value)
        unfinished = ("motet_calls_running", "motet_calls_queued", "motet_generations_running")
        return cls(
            calls,
            round(metrics.counters.total("motet_generation_duration_seconds_count") or 0.0),
            sum(metrics.gauges.total(name) or 0.0 for name in (*unfinished, "motet_pool_queue_seconds")),
        )

    def since(self, earlier: ServerCounts) -> ServerCounts:
        """Return what was counted after an earlier moment, and the work that is left now."""
        return ServerCounts(self.calls - earlier.calls, self.generations - earlier.generations, self.left)
