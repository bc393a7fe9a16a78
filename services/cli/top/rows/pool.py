"""The rows of pools of workers, from the metrics of all orchestrators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.cli.top.rows.process import ObservedProcess
from services.metric_samples import MetricSamples

_SAMPLE = "motet_pool_replicas"


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """A replica of a pool. `ordinal` is its label in the metrics of the first orchestrator that knows it.

    `ready` is true if all orchestrators find it ready. `outstanding_seconds` is the predicted work that it has left, or
    None for one that is not ready.
    """

    ordinal: str
    address: str
    ready: bool
    outstanding_seconds: float | None


@dataclass(frozen=True, slots=True)
class PoolRow:
    """A pool. The calls and the predicted seconds of its queue are the sums of all orchestrators.

    `replicas_by_state` has, for each state, the highest number that an orchestrator finds. `slots` is the number of
    calls that the ready replicas run at a time, or 0 if one has no limit.
    """

    pool: str
    replicas: Sequence[ReplicaRow]
    replicas_by_state: Mapping[str, int]
    calls_waiting: float
    calls_running: float
    slots: float
    queue_seconds: float
    oldest_wait_seconds: float


def pool_rows(processes: Sequence[ObservedProcess]) -> list[PoolRow]:
    """Return the rows of all pools, in the order of their names."""
    gauges = MetricSamples.merged(process.gauges for process in processes)
    return [_row(pool, gauges, processes) for pool in sorted(gauges.by("pool", _SAMPLE))]


def _row(pool: str, gauges: MetricSamples, processes: Sequence[ObservedProcess]) -> PoolRow:
    states = gauges.by("state", _SAMPLE, pool=pool)
    largest = {state: int(gauges.largest(_SAMPLE, pool=pool, state=state) or 0) for state in states}
    return PoolRow(
        pool=pool,
        replicas=_replicas(pool, processes),
        replicas_by_state={state: count for state, count in largest.items() if count},
        calls_waiting=gauges.total("motet_pool_calls", pool=pool, state="waiting") or 0.0,
        calls_running=gauges.total("motet_pool_calls", pool=pool, state="running") or 0.0,
        slots=gauges.largest("motet_pool_slots", pool=pool) or 0.0,
        queue_seconds=gauges.total("motet_pool_queue_seconds", pool=pool) or 0.0,
        oldest_wait_seconds=gauges.largest("motet_pool_oldest_wait_seconds", pool=pool) or 0.0,
    )


def _replicas(pool: str, processes: Sequence[ObservedProcess]) -> list[ReplicaRow]:
    """Return the replicas of a pool. Orchestrators number them differently, so their addresses identify them."""
    rows: dict[str, ReplicaRow] = {}
    for process in processes:
        for info in process.gauges.of("motet_pool_replica_info", pool=pool):
            ordinal, address = info.labels.get("replica", ""), info.labels.get("address", "")
            ready = bool(process.gauges.total("motet_pool_replica_ready", pool=pool, replica=ordinal))
            seconds = process.gauges.total("motet_pool_outstanding_seconds", pool=pool, replica=ordinal)
            known = rows.get(address)
            if known is not None:
                ordinal, ready = known.ordinal, ready and known.ready
                sums = [each for each in (seconds, known.outstanding_seconds) if each is not None]
                seconds = sum(sums) if sums else None
            rows[address] = ReplicaRow(ordinal, address, ready, seconds)
    return sorted(rows.values(), key=lambda row: (len(row.ordinal), row.ordinal))
