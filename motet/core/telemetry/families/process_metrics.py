"""The metrics of every process: its versions, its bundle, its health, its certificates and its log."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Info

BUILD = Info(
    "motet_build", "The versions of the process: motet, python, grpc, and the component: the kind of its service."
)
BUNDLE = Info("motet_bundle", "The bundle that the process serves: its name and its digest.")
CONFIG = Info(
    "motet_config", "The hash of the settings of the process. Replicas with equal settings have equal hashes."
)
LOAD_SECONDS = Gauge(
    "motet_load_duration_seconds", "Wall time from the start of the service to its first readiness, with all weights."
)
HEALTH_SERVING = Gauge(
    "motet_health_serving",
    "1 if the health of a name is SERVING, else 0. service is the name in grpc.health.v1; empty is the whole process.",
    ["service"],
)
DRAIN_SECONDS = Gauge(
    "motet_drain_duration_seconds", "Wall time since the process began to refuse new calls. 0 before."
)
DRAINING = Gauge("motet_draining", "1 while the process refuses new calls because it will stop, else 0.")
LOG_LINES_DROPPED = Counter(
    "motet_log_lines_dropped_total", "Log lines that were dropped because the reader of standard error is too slow."
)
LOG_LINES_REPEATED = Counter(
    "motet_log_lines_repeated_total", "Warnings and errors that were left out because many equal ones were written."
)
SPANS = Counter(
    "motet_spans_total",
    "Spans of traces that ended. outcome is exported, failed (the collector did not take them) or dropped (too many "
    "waited for the collector).",
    ["outcome"],
)
TLS_CERTIFICATE_EXPIRY = Gauge(
    "motet_tls_certificate_expiry_timestamp_seconds",
    "Unix time at which a certificate in use expires. file is cert (with its chain), client_ca or ca (the last one).",
    ["file"],
)
ACCESS_RELOADS = Counter(
    "motet_access_reloads_total",
    "Changes of the files of API keys, token keys, quotas and log levels. result is used, or refused: the old ones "
    "stay in use.",
    ["file", "result"],
)
TLS_RELOADS = Counter(
    "motet_tls_reloads_total",
    "Changes of the certificates' files. result is used, or refused: the old certificates stay in use.",
    ["result"],
)
