"""The metrics of the child processes that decode media."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

MEDIA_CONFINEMENT = Gauge(
    "motet_media_confinement", "1 if a layer confines the children that decode media, else 0.", ["layer"]
)
MEDIA_FORBIDDEN_CALLS = Counter(
    "motet_media_forbidden_calls_total",
    "Decoding children that were killed for a system call that no codec makes. Each is an attack or a defect.",
)
