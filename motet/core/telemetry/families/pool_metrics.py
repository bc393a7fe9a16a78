"""The metrics of the pools of workers."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from motet.core.telemetry.prometheus import SparseGauge

POOL_REPLICAS = Gauge(
    "motet_pool_replicas",
    "Replicas of a pool. state is ready, stalled, ejected, draining, other_bundle or unreachable. Only ready ones get "
    "all calls.",
    ["pool", "state"],
)
POOL_REPLICA_INFO = Gauge(
    "motet_pool_replica_info", "1 for each replica of a pool, with its address.", ["pool", "replica", "address"]
)
POOL_REPLICA_READY = Gauge(
    "motet_pool_replica_ready", "1 if the state of a replica is ready, else 0.", ["pool", "replica"]
)
POOL_OUTSTANDING_SECONDS = SparseGauge(
    "motet_pool_outstanding_seconds",
    "Predicted seconds of work that a replica has left, if its state is ready.",
    ["pool", "replica"],
)
POOL_QUEUE_SECONDS = Gauge("motet_pool_queue_seconds", "Predicted seconds of work in the pool's queue.", ["pool"])
POOL_DEMAND_SECONDS = Gauge(
    "motet_pool_demand_seconds",
    "Predicted seconds of work of a pool's calls that wait, run or have a reservation. 0 only if there are none.",
    ["pool"],
)
POOL_OLDEST_WAIT_SECONDS = Gauge(
    "motet_pool_oldest_wait_seconds", "Age of the oldest call that waits for a replica of the pool.", ["pool"]
)
POOL_REFUSED = Counter("motet_pool_refused_total", "Calls refused because the queue was full.", ["pool"])
POOL_EJECTIONS = Counter(
    "motet_pool_ejections_total", "Ejections of a replica after consecutive failures.", ["pool", "replica"]
)
POOL_HEDGES = Counter(
    "motet_pool_hedges_total",
    "Second attempts of calls whose worker was silent. outcome is won (the second attempt led) or lost.",
    ["pool", "outcome"],
)
POOL_CALLS = Gauge(
    "motet_pool_calls",
    "Calls of a pool. state is waiting (for a replica) or running (at a replica, each attempt counts).",
    ["pool", "state"],
)
POOL_SLOTS = Gauge(
    "motet_pool_slots", "Calls that the ready replicas of a pool run at a time. 0 if one has no limit.", ["pool"]
)
POOL_RETRIES = Counter(
    "motet_pool_retries_total",
    "Calls that were sent once more after an attempt had failed. Hedges do not count.",
    ["pool"],
)
POOL_WASTED_SECONDS = Counter(
    "motet_pool_wasted_seconds_total",
    "Wall time of attempts without a result. cause is failed, cancelled or hedged (another attempt led).",
    ["pool", "cause"],
)
