"""The gauges of a pool and of its replicas."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

from motet.core import metrics
from orchestrator.pool.pool_calls import PoolCalls
from orchestrator.pool.replica import Replica, ReplicaState


class PoolGauges:
    """Exports a pool from `open` to `close`: its replicas by state, and predicted seconds of work.

    `queued` returns the predicted seconds of work in the queue, and `calls` has the demand. A replica that is not ready
    has no predicted seconds: a dead replica has none to do, and would look idle. Values are computed when they are
    read.
    """

    def __init__(self, name: str, queued: Callable[[], float], calls: PoolCalls) -> None:
        self._name = name
        self._queued = queued
        self._calls = calls
        self._replicas: dict[str, Replica[Any]] = {}

    def open(self) -> None:
        """Export the gauges of the pool."""
        metrics.POOL_QUEUE_SECONDS.labels(self._name).set_function(self._queued)
        metrics.POOL_DEMAND_SECONDS.labels(self._name).set_function(lambda: self._calls.demand.seconds)
        metrics.POOL_OLDEST_WAIT_SECONDS.labels(self._name).set_function(lambda: self._calls.demand.oldest_wait)
        for state in ReplicaState:
            metrics.POOL_REPLICAS.labels(self._name, state).set_function(partial(self._count, state))

    def add(self, label: str, replica: Replica[Any]) -> None:
        """Export a replica."""
        self._replicas[label] = replica
        metrics.POOL_OUTSTANDING_SECONDS.labels(self._name, label).set_function(partial(_outstanding, replica))

    def remove(self, label: str) -> None:
        """End the export of a replica."""
        self._replicas.pop(label, None)
        metrics.POOL_OUTSTANDING_SECONDS.remove(self._name, label)

    def close(self) -> None:
        """End the export of the pool and of its replicas."""
        for gauge in (metrics.POOL_QUEUE_SECONDS, metrics.POOL_DEMAND_SECONDS, metrics.POOL_OLDEST_WAIT_SECONDS):
            gauge.remove(self._name)
        for state in ReplicaState:
            metrics.POOL_REPLICAS.remove(self._name, state)
        for label in tuple(self._replicas):
            self.remove(label)

    def _count(self, state: ReplicaState) -> int:
        # A copy, because metrics are read from another thread.
        return sum(replica.state is state for replica in tuple(self._replicas.values()))


def _outstanding(replica: Replica[Any]) -> float:
    """Return the predicted seconds of work of a replica, or NaN for one that is not ready."""
    return replica.outstanding() if replica.state is ReplicaState.READY else math.nan
