"""The state of a deployment at one moment, from the metrics of its processes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

from services.cli.top.rows.gpu import GpuRow, gpu_rows
from services.cli.top.rows.modality import OF_ORCHESTRATORS, ModalityRow, hit_ratio, modality_rows
from services.cli.top.rows.pool import PoolRow, pool_rows
from services.cli.top.rows.process import ObservedProcess, ProcessRow, ProcessState
from services.metric_samples import MetricSamples


@dataclass(frozen=True, slots=True)
class Totals:
    """Figures of the whole deployment. A value that the metrics do not have is None.

    Generations per second are ended ones. The ratios are shares of lookups that were no miss, since the reading before.
    """

    generations_running: float | None
    generations_per_second: float | None
    input_tokens_per_second: float | None
    output_tokens_per_second: float | None
    sequences_waiting: float | None
    kv_tokens_used: float | None
    kv_tokens_limit: float | None
    prefix_cache_hit_ratio: float | None
    encoder_cache_hit_ratio: float | None

    @classmethod
    def of(cls, processes: Sequence[ObservedProcess]) -> Self:
        """Return the totals of processes."""
        gauges = MetricSamples.merged(process.gauges for process in processes)
        rates = MetricSamples.merged(process.rates for process in processes)
        tokens = "motet_llm_tokens_total"

        def rate(counter: str, **labels: str) -> float | None:
            """Return a rate, which is 0 for a counter of an orchestrator that has not begun."""
            total = rates.total(counter, **labels)
            return 0.0 if total is None and rates.of(OF_ORCHESTRATORS) else total

        return cls(
            generations_running=gauges.total("motet_generations_running"),
            generations_per_second=rate("motet_generation_duration_seconds_count"),
            input_tokens_per_second=rate(tokens, direction="input"),
            output_tokens_per_second=rate(tokens, direction="output"),
            sequences_waiting=gauges.total("motet_llm_sequences_waiting"),
            kv_tokens_used=gauges.total("motet_llm_kv_tokens_used"),
            kv_tokens_limit=gauges.total("motet_llm_kv_tokens_limit"),
            prefix_cache_hit_ratio=hit_ratio(rates, "motet_llm_prefix_cache_tokens_total", "result"),
            encoder_cache_hit_ratio=hit_ratio(rates, "motet_encoder_cache_total", "outcome"),
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state at `time`, in seconds since the epoch."""

    time: float
    totals: Totals
    processes: Sequence[ProcessRow]
    pools: Sequence[PoolRow]
    modalities: Sequence[ModalityRow]
    gpus: Sequence[GpuRow]

    @classmethod
    def of(cls, time: float, processes: Sequence[ObservedProcess]) -> Self:
        """Return the state of processes."""
        return cls(
            time=time,
            totals=Totals.of(processes),
            processes=[ProcessRow.of(process) for process in processes],
            pools=pool_rows(processes),
            modalities=modality_rows(processes),
            gpus=gpu_rows(processes),
        )

    @property
    def reachable(self) -> int:
        """The number of processes that sent their metrics."""
        return sum(process.state is not ProcessState.UNREACHABLE for process in self.processes)

    def as_json(self) -> dict[str, Any]:
        """Return all values for programs."""
        return asdict(self)
