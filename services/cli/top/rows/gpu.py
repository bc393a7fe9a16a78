"""The rows of GPUs, as the workers on them read NVML."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.cli.top.rows.process import ObservedProcess
from services.metric_samples import MetricSamples


@dataclass(frozen=True, slots=True)
class GpuRow:
    """A GPU. `components` are the kinds of services that use it. A value that NVML does not have is None.

    `compute` is the share of time in which a kernel ran. `throttled` are the reasons that lower its clocks.
    """

    uuid: str
    name: str
    components: Sequence[str]
    compute: float | None
    memory_used_bytes: float | None
    memory_bytes: float | None
    power_watts: float | None
    temperature_celsius: float | None
    throttled: Sequence[str]


def gpu_rows(processes: Sequence[ObservedProcess]) -> list[GpuRow]:
    """Return the rows of all GPUs, in the order of their UUIDs. Processes on one GPU report the same values."""
    gauges = MetricSamples.merged(process.gauges for process in processes)
    return [_row(uuid, gauges) for uuid in sorted(gauges.by("gpu_uuid", "motet_gpu_info"))]


def _row(uuid: str, gauges: MetricSamples) -> GpuRow:
    infos = [info.labels for info in gauges.of("motet_gpu_info", gpu_uuid=uuid)]
    kinds = gauges.by("kind", "motet_gpu_memory_bytes", gpu_uuid=uuid)
    memory = {kind: gauges.largest("motet_gpu_memory_bytes", gpu_uuid=uuid, kind=kind) or 0.0 for kind in kinds}
    reasons = gauges.by("reason", "motet_gpu_throttled", gpu_uuid=uuid)
    return GpuRow(
        uuid=uuid,
        name=infos[0].get("name", ""),
        components=sorted({info.get("component", "") for info in infos}),
        compute=gauges.largest("motet_gpu_utilization_ratio", gpu_uuid=uuid, engine="compute"),
        memory_used_bytes=memory.get("used"),
        memory_bytes=sum(memory.values()) if memory else None,
        power_watts=gauges.largest("motet_gpu_power_watts", gpu_uuid=uuid),
        temperature_celsius=gauges.largest("motet_gpu_temperature_celsius", gpu_uuid=uuid),
        throttled=sorted(reason for reason, active in reasons.items() if active),
    )
