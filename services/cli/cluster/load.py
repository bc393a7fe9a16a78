"""The load of each pool of a release, from the metrics of its orchestrators."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from motet.core.errors import AccessError, MotetError
from services.metric_samples import exposition_of

if TYPE_CHECKING:
    from services.cli.cluster.api import ClusterApi
    from services.cli.cluster.component import Component
    from services.metric_samples import MetricSamples

_QUEUED, _RUNNING = "motet_pool_queue_seconds", "motet_pool_outstanding_seconds"
_OLDEST_WAIT = "motet_pool_oldest_wait_seconds"


@dataclass(frozen=True, slots=True)
class PoolLoad:
    """Predicted seconds of work of a pool: in its queue, and at its replicas. Those of all orchestrators are added.

    `oldest_wait` is the age of the oldest call in a queue, in seconds.
    """

    queued: float = 0.0
    running: float = 0.0
    oldest_wait: float = 0.0

    def with_orchestrator(self, gauges: MetricSamples, pool: str) -> PoolLoad:
        """Return the load with that of one more orchestrator, which reports the pool in these gauges."""
        return PoolLoad(
            self.queued + (gauges.total(_QUEUED, pool=pool) or 0.0),
            self.running + (gauges.total(_RUNNING, pool=pool) or 0.0),
            max(self.oldest_wait, gauges.largest(_OLDEST_WAIT, pool=pool) or 0.0),
        )


@dataclass(frozen=True, slots=True)
class Loads:
    """The load by the name of the pool, and notes about orchestrators whose metrics cannot be read."""

    pools: Mapping[str, PoolLoad]
    notes: Sequence[str] = ()


async def read_loads(api: ClusterApi, orchestrator: Component, pods: Sequence[str]) -> Loads:
    """Return the loads that the pods of an orchestrator report. The API server forwards the requests."""
    pools: dict[str, PoolLoad] = {}
    notes = []
    paths = [orchestrator.metrics_path(api.namespace, pod) for pod in pods]
    responses = await asyncio.gather(*map(api.text, paths), return_exceptions=True)
    for pod, response in zip(pods, responses, strict=True):
        try:
            if isinstance(response, BaseException):
                raise response
            gauges = (await asyncio.to_thread(exposition_of, response)).gauges
            for pool in gauges.by("pool", _QUEUED):
                pools[pool] = pools.get(pool, PoolLoad()).with_orchestrator(gauges, pool)
        except (MotetError, ValueError, KeyError) as error:
            notes.append(f"the load of {pod} is unknown: {reason_of(error)}")
    return Loads(pools, notes)


def reason_of(error: Exception) -> str:
    """Return the reason for which the metrics of a pod cannot be read, with what to change."""
    match error:
        case AccessError():
            return error.message
        case MotetError():
            return f"{error.message}; add the API server to networkPolicy.scrapers if the policy denies it"
        case _:
            return "its metrics are not in the format of Prometheus"
