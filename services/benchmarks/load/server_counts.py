"""The counts of an orchestrator, from its metrics."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.request import urlopen

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

_TIMEOUT = 30.0
"""Maximum time of a request for the metrics, in seconds."""


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
        text = await asyncio.to_thread(_get, f"http://{address}/metrics")
        samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        calls: Counter[str] = Counter()
        for sample in _named(samples, "motet_call_duration_seconds_count"):
            service, _, method = sample.labels["method"].rpartition("/")
            if service.startswith("/motet.v1."):
                calls[f"{method} {sample.labels['code']}"] += round(sample.value)
        unfinished = ("motet_calls_running", "motet_calls_queued", "motet_generations_running")
        return cls(
            calls,
            round(_sum(samples, "motet_generation_duration_seconds_count")),
            sum(_sum(samples, name) for name in (*unfinished, "motet_pool_queue_seconds")),
        )

    def since(self, earlier: ServerCounts) -> ServerCounts:
        """Return what was counted after an earlier moment, and the work that is left now."""
        return ServerCounts(self.calls - earlier.calls, self.generations - earlier.generations, self.left)


def _get(url: str) -> str:
    with urlopen(url, timeout=_TIMEOUT) as response:
        return str(response.read(), "utf-8")


def _named(samples: Iterable[Sample], name: str) -> list[Sample]:
    return [sample for sample in samples if sample.name == name]


def _sum(samples: Iterable[Sample], name: str) -> float:
    return sum(sample.value for sample in _named(samples, name))
