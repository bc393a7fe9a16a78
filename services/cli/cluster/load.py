"""The load of each pool of a release, from the metrics of its orchestrators."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from motet.core.errors import AccessError, MotetError

if TYPE_CHECKING:
    from services.cli.cluster.api import ClusterApi
    from services.cli.cluster.component import Component

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
            for metric, pool, value in _samples(response):
                pools[pool] = _with_sample(pools.get(pool, PoolLoad()), metric, value)
        except (MotetError, ValueError, KeyError) as error:
            notes.append(f"the load of {pod} is unknown: {reason_of(error)}")
    return Loads(pools, notes)


def _with_sample(load: PoolLoad, metric: str, value: float) -> PoolLoad:
    if metric == _QUEUED:
        return replace(load, queued=load.queued + value)
    if metric == _RUNNING:
        return replace(load, running=load.running + value)
    return replace(load, oldest_wait=max(load.oldest_wait, value))


def _samples(text: str) -> list[tuple[str, str, float]]:
    """Return the metric, the pool and the value of each sample of a pool's load. Raises `ValueError`."""
    from prometheus_client.parser import text_string_to_metric_families

    return [
        (sample.name, sample.labels["pool"], sample.value)
        for family in text_string_to_metric_families(text)
        if family.name in (_QUEUED, _RUNNING, _OLDEST_WAIT)
        for sample in family.samples
    ]


def reason_of(error: Exception) -> str:
    """Return the reason for which the metrics of a pod cannot be read, with what to change."""
    match error:
        case AccessError():
            return error.message
        case MotetError():
            return f"{error.message}; add the API server to networkPolicy.scrapers if the policy denies it"
        case _:
            return "its metrics are not in the format of Prometheus"
