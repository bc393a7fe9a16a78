"""The metrics of a pool and of its replicas."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from heapq import heappop, heappush
from typing import Any

from motet.core.clock import now
from motet.core.errors import MotetError
from motet.core.telemetry.families.pool_metrics import (
    POOL_CALLS,
    POOL_DEMAND_SECONDS,
    POOL_EJECTIONS,
    POOL_OLDEST_WAIT_SECONDS,
    POOL_OUTSTANDING_SECONDS,
    POOL_QUEUE_SECONDS,
    POOL_REFUSED,
    POOL_REPLICA_INFO,
    POOL_REPLICA_READY,
    POOL_REPLICAS,
    POOL_RETRIES,
    POOL_SLOTS,
    POOL_WASTED_SECONDS,
)
from motet.core.telemetry.prometheus import labelled
from orchestrator.pool.attempt import Attempt
from orchestrator.pool.pool_calls import PoolCalls
from orchestrator.pool.replica import Replica, ReplicaState


class PoolGauges:
    """Exports a pool from `open` to `close`: its replicas by state, and predicted seconds of work.

    `queued` returns the predicted seconds of work in the queue, and `calls` has the demand. A replica that is not ready
    has no predicted seconds: a dead replica has none to do, and would look idle. Values are computed when they are
    read.

    The label of a replica is an ordinal, the smallest that is free in its pool. So replicas that come and go leave the
    number of series as it is. `motet_pool_replica_info` has the address.
    """

    def __init__(self, name: str, queued: Callable[[], float], calls: PoolCalls) -> None:
        self._name = name
        self._queued = queued
        self._calls = calls
        self._labels: dict[Replica[Any], str] = {}
        self._free: list[int] = []
        """A heap of the ordinals below the highest one in use that no replica has."""

    def open(self) -> None:
        """Export the gauges of the pool."""
        POOL_QUEUE_SECONDS.labels(self._name).set_function(self._queued)
        POOL_DEMAND_SECONDS.labels(self._name).set_function(lambda: self._calls.demand.seconds)
        POOL_OLDEST_WAIT_SECONDS.labels(self._name).set_function(lambda: self._calls.demand.oldest_wait)
        POOL_CALLS.labels(self._name, "waiting").set_function(lambda: self._calls.waiting)
        POOL_CALLS.labels(self._name, "running").set_function(self._running)
        POOL_SLOTS.labels(self._name).set_function(self._slots)
        for state in ReplicaState:
            POOL_REPLICAS.labels(self._name, state).set_function(partial(self._count, state))
        # From 0, because an increase from nothing is none for Prometheus.
        POOL_REFUSED.labels(self._name)
        POOL_RETRIES.labels(self._name)
        for cause in ("failed", "cancelled", "hedged"):
            POOL_WASTED_SECONDS.labels(self._name, cause)

    def add(self, replica: Replica[Any]) -> None:
        """Export a replica."""
        label = str(heappop(self._free) if self._free else len(self._labels))
        self._labels[replica] = label
        POOL_REPLICA_INFO.labels(self._name, label, replica.address).set(1)
        POOL_REPLICA_READY.labels(self._name, label).set_function(partial(_ready, replica))
        POOL_OUTSTANDING_SECONDS.labels(self._name, label).set_function(partial(_outstanding, replica))
        # From 0, because an increase from nothing is none for Prometheus.
        POOL_EJECTIONS.labels(self._name, label)

    def remove(self, replica: Replica[Any]) -> None:
        """End the export of a replica, and of its ejections."""
        if (label := self._labels.pop(replica, None)) is None:
            return
        heappush(self._free, int(label))
        POOL_REPLICA_INFO.remove(self._name, label, replica.address)
        for metric in (
            POOL_REPLICA_READY,
            POOL_OUTSTANDING_SECONDS,
            POOL_EJECTIONS,
        ):
            metric.remove(self._name, label)

    def ordinal(self, replica: Replica[Any]) -> int | None:
        """Return the ordinal of a replica, which is its label, or None for a replica that is not exported."""
        label = self._labels.get(replica)
        return None if label is None else int(label)

    def ejected(self, replica: Replica[Any]) -> None:
        """Count the ejection of a replica that is exported."""
        if (label := self._labels.get(replica)) is not None:
            POOL_EJECTIONS.labels(self._name, label).inc()

    def started_again(self, attempt: Attempt[Any]) -> None:
        """Count a retry, unless the attempt began as a hedge."""
        if attempt.reading_ahead is None:
            labelled(POOL_RETRIES, self._name).inc()

    def ended(self, attempt: Attempt[Any], error: MotetError | None, complete: bool) -> None:
        """Count the seconds of an attempt that ended without a result. Without an error, it was stopped."""
        if complete:
            return
        cause = "failed" if error is not None else "cancelled" if attempt.reading_ahead is None else "hedged"
        labelled(POOL_WASTED_SECONDS, self._name, cause).inc(max(0.0, now() - attempt.started))

    def close(self) -> None:
        """End the export of the pool and of its replicas."""
        for state in ("waiting", "running"):
            POOL_CALLS.remove(self._name, state)
        POOL_SLOTS.remove(self._name)
        for gauge in (
            POOL_QUEUE_SECONDS,
            POOL_DEMAND_SECONDS,
            POOL_OLDEST_WAIT_SECONDS,
        ):
            gauge.remove(self._name)
        for state in ReplicaState:
            POOL_REPLICAS.remove(self._name, state)
        for replica in tuple(self._labels):
            self.remove(replica)

    def _running(self) -> int:
        return sum(len(replica.attempts) for replica in tuple(self._labels))

    def _slots(self) -> int:
        """Return the slots of the ready replicas, or 0 if one has no limit."""
        slots = [replica.slots for replica in tuple(self._labels) if replica.state is ReplicaState.READY]
        return sum(slots) if all(slots) else 0

    def _count(self, state: ReplicaState) -> int:
        # A copy, because metrics are read from another thread.
        return sum(replica.state is state for replica in tuple(self._labels))


def _ready(replica: Replica[Any]) -> bool:
    return replica.state is ReplicaState.READY


def _outstanding(replica: Replica[Any]) -> float:
    """Return the predicted seconds of work of a replica, or NaN for one that is not ready."""
    return replica.outstanding() if replica.state is ReplicaState.READY else math.nan
