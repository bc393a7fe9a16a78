"""The rows of modalities: their media per second, their batches, and their load of the devices."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from motet.core.events import TEXT
from motet.core.telemetry.service_kind import ServiceKind
from services.cli.top.rows.process import ObservedProcess
from services.metric_samples import MetricSamples

_GPU_BUSY, _CPU_BUSY, _CPU = "motet_gpu_busy_seconds", "motet_cpu_busy_seconds", "process_cpu_seconds"
_CPU_NAME = "cpu"

OF_ORCHESTRATORS = "motet_plan_jobs_count"
"""A counter that each orchestrator has from its start. Counters with labels begin with their first increment."""

_JOBS = "motet_decoder_jobs"


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """The load of a device by the work of a component for a modality.

    `device` is "cpu", or the UUID of a GPU. `busy` is a number of CPU cores, or the share of the GPU.
    """

    component: str
    device: str
    busy: float


@dataclass(frozen=True, slots=True)
class ModalityRow:
    """A modality. A value that the metrics do not have is None.

    The media per second are complete parts, and encoded media are inputs. For text, `jobs_running` are sequences, and
    `batch_size` and `step_seconds` those of forwards. For other modalities, they are jobs and denoising steps of the
    decoders. `cache_hit_ratio` is the share of media that came from the cache or from an equal job.
    """

    modality: str
    media_per_second: float | None
    failed_per_second: float | None
    encoded_per_second: float | None
    jobs_running: float | None
    batch_size: float | None
    step_seconds: float | None
    cache_hit_ratio: float | None
    loads: Sequence[DeviceLoad]


def modality_rows(processes: Sequence[ObservedProcess]) -> list[ModalityRow]:
    """Return the rows of all modalities: text, and then those of decoders and of encoded media by their names."""
    gauges = MetricSamples.merged(process.gauges for process in processes)
    rates = MetricSamples.merged(process.rates for process in processes)
    loads = list(_loads(processes))
    pools = set(gauges.by("pool", "motet_pool_replicas")) - {ServiceKind.ENCODER, ServiceKind.LANGUAGE_MODEL}
    media = {*rates.by("modality", "motet_parts_total"), *gauges.by("modality", _JOBS), *_encoded(rates)}
    has_text = any(process.component == ServiceKind.LANGUAGE_MODEL for process in processes)
    modalities = {*pools, *media, *(modality for modality, _ in loads), *([TEXT] if has_text else [])} - {""}
    return [
        _row(modality, gauges, rates, [load for each, load in loads if each == modality])
        for modality in sorted(modalities, key=lambda each: (each != TEXT, each))
    ]


def _row(modality: str, gauges: MetricSamples, rates: MetricSamples, loads: Sequence[DeviceLoad]) -> ModalityRow:
    parts = rates.of("motet_parts_total", modality=modality)
    complete = [part.value for part in parts if not part.labels.get("reason")]
    failed = [part.value for part in parts if part.labels.get("reason")]
    known = bool(rates.of(OF_ORCHESTRATORS))
    return ModalityRow(
        modality=modality,
        media_per_second=sum(complete) if known else None,
        failed_per_second=sum(failed) if known else None,
        encoded_per_second=_encoded(rates).get(modality),
        jobs_running=_jobs(modality, gauges),
        batch_size=_of_kind(rates, modality, "motet_llm_batch_size", "motet_decoder_batch_size"),
        step_seconds=_of_kind(
            rates, modality, "motet_llm_forward_duration_seconds", "motet_decoder_step_duration_seconds"
        ),
        cache_hit_ratio=hit_ratio(rates, "motet_decoder_cache_total", "outcome", modality=modality),
        loads=loads,
    )


def hit_ratio(rates: MetricSamples, counter: str, label: str, **labels: str) -> float | None:
    """Return the share of a cache's lookups that were no miss, or None without lookups."""
    by_outcome = rates.by(label, counter, **labels)
    lookups = sum(by_outcome.values())
    return 1.0 - by_outcome.get("miss", 0.0) / lookups if lookups else None


def _encoded(rates: MetricSamples) -> dict[str, float]:
    return rates.by(
        "modality", "motet_stage_duration_seconds_count", component=ServiceKind.ENCODER.value, stage="forward"
    )


def _jobs(modality: str, gauges: MetricSamples) -> float | None:
    if modality == TEXT:
        return gauges.total("motet_llm_sequences_running")
    return gauges.total(_JOBS, modality=modality, state="running")


def _of_kind(rates: MetricSamples, modality: str, of_text: str, of_media: str) -> float | None:
    """Return the mean of the language model's histogram for text, and that of the decoders for media."""
    return rates.mean(of_text) if modality == TEXT else rates.mean(of_media, modality=modality)


def _loads(processes: Sequence[ObservedProcess]) -> Iterator[tuple[str, DeviceLoad]]:
    """Yield the loads with their modalities. The CPU time of a process counts if it does not measure its batches."""
    sums: dict[tuple[str, str, str], float] = {}

    def add(modality: str, component: str, device: str, busy: float) -> None:
        key = modality, component, device
        sums[key] = sums.get(key, 0.0) + busy

    for process in processes:
        rates, component = process.rates, process.component
        for sample in rates.of(f"{_GPU_BUSY}_total"):
            add(sample.labels.get("modality", ""), component, sample.labels.get("gpu_uuid", ""), sample.value)
        for sample in rates.of(f"{_CPU_BUSY}_total"):
            add(sample.labels.get("modality", ""), component, _CPU_NAME, sample.value)
        cpu = rates.total(f"{_CPU}_total")
        if cpu is not None and not process.families & {_GPU_BUSY, _CPU_BUSY}:
            if component == ServiceKind.LANGUAGE_MODEL:
                add(TEXT, component, _CPU_NAME, cpu)
            elif component == ServiceKind.DECODER:
                # A decoder has one modality. It is not known before the first job.
                for modality in list(process.gauges.by("modality", _JOBS))[:1]:
                    add(modality, component, _CPU_NAME, cpu)
    for (modality, component, device), busy in sorted(sums.items()):
        yield modality, DeviceLoad(component, device, busy)
