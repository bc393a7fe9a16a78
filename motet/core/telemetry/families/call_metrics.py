"""The metrics of the gRPC calls of every process."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from motet.core.telemetry.prometheus import SECONDS

CALL_SECONDS = Histogram(
    "motet_call_duration_seconds",
    "Wall time of gRPC calls, including the time in the queue.",
    ["method", "code"],
    buckets=SECONDS,
)
CALLS_RUNNING = Gauge("motet_calls_running", "Running calls.")
CALLS_QUEUED = Gauge("motet_calls_queued", "Queued calls.")
CALLS_REFUSED = Counter("motet_calls_refused_total", "Calls refused before any work.", ["reason"])
SLOW_READERS = Counter(
    "motet_slow_readers_total", "Streams that were stopped because their caller did not read the responses."
)
