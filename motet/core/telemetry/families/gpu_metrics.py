"""The readings of workers' GPUs.

`gpu_uuid` is the UUID of the whole GPU, also for a process that uses an instance of it (MIG). The label `UUID` of
dcgm-exporter has the same value.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge

GPU_INFO = Gauge(
    "motet_gpu_info",
    "1 for the GPU that the process uses. mig_uuid and mig_profile are empty for a whole GPU.",
    ["component", "gpu_uuid", "mig_uuid", "mig_profile", "name", "driver"],
)
GPU_READABLE = Gauge(
    "motet_gpu_readable",
    "1 if NVML reads the GPU of the process, 0 if its calls fail or hang. Then other readings are absent.",
    ["component"],
)
GPU_UTILIZATION = Gauge(
    "motet_gpu_utilization_ratio",
    "Share of time, from 0 to 1, in which a part of the GPU worked, for any process. engine is compute, memory, nvenc "
    "or nvdec. A GPU with MIG has no compute and memory here.",
    ["gpu_uuid", "engine"],
)
GPU_MEMORY = Gauge(
    "motet_gpu_memory_bytes",
    "Memory of the GPU, or of the MIG instance that the process uses. kind is used, free or reserved (by the driver).",
    ["gpu_uuid", "kind"],
)
GPU_POWER = Gauge("motet_gpu_power_watts", "Power of the whole GPU, for all processes.", ["gpu_uuid"])
GPU_ENERGY = Counter(
    "motet_gpu_energy_joules_total",
    "Energy of the whole GPU since the first reading of this process, for all processes.",
    ["gpu_uuid"],
)
GPU_TEMPERATURE = Gauge("motet_gpu_temperature_celsius", "Temperature of the GPU.", ["gpu_uuid"])
GPU_THROTTLED = Gauge(
    "motet_gpu_throttled",
    "1 while a reason lowers the clocks of the GPU, else 0. Idle GPUs and clocks that an operator chose do not count.",
    ["gpu_uuid", "reason"],
)
GPU_XID_ERRORS = Counter(
    "motet_gpu_xid_errors_total",
    "XID errors that the driver reported for the GPU since the first reading. xid is a known number, or other.",
    ["gpu_uuid", "xid"],
)
