"""One reading of a GPU by NVML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pynvml
from prometheus_client import Gauge

from motet.core.telemetry.families import gpu_metrics as metrics
from motet.models.gpu.visible_gpu import VisibleGpu, if_supported

_THROTTLE_REASONS: Mapping[str, int] = {
    "sw_power_cap": pynvml.nvmlClocksThrottleReasonSwPowerCap,
    "hw_slowdown": pynvml.nvmlClocksThrottleReasonHwSlowdown,
    "sync_boost": pynvml.nvmlClocksThrottleReasonSyncBoost,
    "sw_thermal": pynvml.nvmlClocksThrottleReasonSwThermalSlowdown,
    "hw_thermal": pynvml.nvmlClocksThrottleReasonHwThermalSlowdown,
    "hw_power_brake": pynvml.nvmlClocksThrottleReasonHwPowerBrakeSlowdown,
}
"""The reasons that lower the clocks against the operator's will, and their bits."""

GaugeKey = tuple[Gauge, tuple[str, ...]]
"""A gauge and the values of its labels."""


@dataclass(frozen=True, slots=True)
class GpuReading:
    """The readings of the GPU `uuid`: the values of gauges, and the driver's energy counter in joules.

    A value that the GPU or its driver lacks is absent. `joules` is then None.
    """

    uuid: str
    gauges: Mapping[GaugeKey, float]
    joules: float | None


def read_gpu(gpu: VisibleGpu, component: str) -> GpuReading:
    """Return a reading of a GPU that a component uses.

    Raises `pynvml.NVMLError` if the GPU or the library does not work.
    """
    driver = str(pynvml.nvmlSystemGetDriverVersion())
    info = (component, gpu.uuid, gpu.mig_uuid, gpu.mig_profile, gpu.name, driver)
    millijoules = if_supported(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(gpu.gpu))
    gauges: dict[GaugeKey, float] = {(metrics.GPU_INFO, info): 1.0}
    gauges |= {(gauge, (gpu.uuid, *labels)): value for gauge, labels, value in _gauges(gpu)}
    return GpuReading(gpu.uuid, gauges, None if millijoules is None else millijoules / 1000)


def _gauges(gpu: VisibleGpu) -> Iterator[tuple[Gauge, tuple[str, ...], float]]:
    for engine, percent in _utilization(gpu.gpu):
        yield metrics.GPU_UTILIZATION, (engine,), percent / 100
    for kind, size in _memory(gpu.handle):
        yield metrics.GPU_MEMORY, (kind,), size
    milliwatts = if_supported(lambda: pynvml.nvmlDeviceGetPowerUsage(gpu.gpu))
    if milliwatts is not None:
        yield metrics.GPU_POWER, (), milliwatts / 1000
    celsius = if_supported(lambda: pynvml.nvmlDeviceGetTemperature(gpu.gpu, pynvml.NVML_TEMPERATURE_GPU))
    if celsius is not None:
        yield metrics.GPU_TEMPERATURE, (), celsius
    reasons = _throttle_reasons(gpu.gpu)
    if reasons is not None:
        for name, bit in _THROTTLE_REASONS.items():
            yield metrics.GPU_THROTTLED, (name,), float(bool(reasons & bit))


def _utilization(gpu: Any) -> Iterator[tuple[str, float]]:
    """Yield the parts of a GPU, and their utilization in percent."""
    rates = if_supported(lambda: pynvml.nvmlDeviceGetUtilizationRates(gpu))
    if rates is not None:
        yield "compute", rates.gpu
        yield "memory", rates.memory
    for engine, read in (
        ("nvenc", pynvml.nvmlDeviceGetEncoderUtilization),
        ("nvdec", pynvml.nvmlDeviceGetDecoderUtilization),
    ):
        percent = if_supported(lambda read=read: read(gpu)[0])  # type: ignore[misc]
        if percent is not None:
            yield engine, percent


def _memory(handle: Any) -> Iterator[tuple[str, float]]:
    memory = if_supported(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2))
    if memory is not None:
        yield "reserved", memory.reserved
    else:
        # Drivers before 510 count the reserved memory as used.
        memory = if_supported(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    if memory is not None:
        yield "used", memory.used
        yield "free", memory.free


def _throttle_reasons(gpu: Any) -> int | None:
    """Return the bits of the reasons, with the function's name of this driver. Drivers before 535 have the old name."""
    reasons = if_supported(lambda: pynvml.nvmlDeviceGetCurrentClocksEventReasons(gpu))
    return if_supported(lambda: pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)) if reasons is None else reasons
