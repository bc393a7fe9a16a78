"""The busy seconds of workers' devices, by modality."""

from __future__ import annotations

from prometheus_client import Counter

GPU_BUSY_SECONDS = Counter(
    "motet_gpu_busy_seconds_total",
    "Seconds for which batches occupied the GPU, divided between the items of each batch. The rate is a share of one "
    "GPU. Batches that overlap count each. gpu_uuid is that of the whole GPU.",
    ["component", "modality", "gpu_uuid"],
)
CPU_BUSY_SECONDS = Counter(
    "motet_cpu_busy_seconds_total",
    "CPU seconds of the threads that run batches, divided between the items of each batch. The rate is a share of one "
    "CPU core. Other threads of a network, see --threads, do not count.",
    ["component", "modality"],
)
