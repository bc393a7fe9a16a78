"""The compute time of requests."""

from __future__ import annotations

from prometheus_client import Histogram

from motet.core.telemetry.prometheus import SECONDS

REQUEST_GPU_SECONDS = Histogram(
    "motet_request_gpu_seconds",
    "GPU seconds of one generation, by the component and the modality of the work, also if it failed or was cancelled. "
    "Results of caches take none.",
    ["component", "modality"],
    buckets=SECONDS,
)
REQUEST_CPU_SECONDS = Histogram(
    "motet_request_cpu_seconds",
    "CPU seconds of the workers' threads that ran batches for one generation, by the component and the modality of the "
    "work, also if it failed or was cancelled.",
    ["component", "modality"],
    buckets=SECONDS,
)
