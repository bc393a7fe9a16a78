"""A process and its metrics, and its row."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from motet.core.telemetry.service_kind import ServiceKind
from services.metric_samples import MetricSamples

_BATCHES = {
    ServiceKind.ENCODER: "motet_encoder_batch_size",
    ServiceKind.LANGUAGE_MODEL: "motet_llm_batch_size",
    ServiceKind.DECODER: "motet_decoder_batch_size",
}
"""The histogram of the batch sizes of each kind of worker."""


class ProcessState(StrEnum):
    """The state of a process, as its metrics describe it."""

    SERVING = "serving"
    NOT_SERVING = "not serving"
    """The process answers, but can serve no call now."""
    STARTING = "starting"
    """The process loads."""
    DRAINING = "draining"
    UNREACHABLE = "unreachable"
    """The process sent no metrics in time. The field `error` has the reason."""


@dataclass(frozen=True, slots=True)
class ObservedProcess:
    """The metrics of a process. `rates` are those of its counters since the reading before, if there is one.

    `error` says why there are no metrics. Else it is "". `families` are the names of all families of metrics.
    """

    name: str
    address: str
    error: str = ""
    gauges: MetricSamples = field(default_factory=lambda: MetricSamples({}))
    rates: MetricSamples = field(default_factory=lambda: MetricSamples({}))
    families: frozenset[str] = frozenset()

    @property
    def component(self) -> str:
        """The kind of the service, or "" if it is not known."""
        builds = self.gauges.of("motet_build_info")
        return builds[0].labels.get("component", "") if builds else ""


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """A process. A value that its metrics do not have is None.

    `cpu_cores` is its use of the CPU, in cores. `batch_size` is the mean size of the batches since the reading before,
    of any kind of work.
    """

    name: str
    address: str
    component: str
    state: ProcessState
    error: str
    calls_running: float | None
    calls_queued: float | None
    batch_size: float | None
    cpu_cores: float | None
    memory_bytes: float | None

    @classmethod
    def of(cls, process: ObservedProcess) -> ProcessRow:
        """Return the row of a process."""
        batches = _BATCHES.get(process.component)  # type: ignore[call-overload]
        return cls(
            name=process.name,
            address=process.address,
            component=process.component,
            state=_state_of(process),
            error=process.error,
            calls_running=process.gauges.total("motet_calls_running"),
            calls_queued=process.gauges.total("motet_calls_queued"),
            batch_size=process.rates.mean(batches) if batches else None,
            cpu_cores=process.rates.total("process_cpu_seconds_total"),
            memory_bytes=process.gauges.total("process_resident_memory_bytes"),
        )


def _state_of(process: ObservedProcess) -> ProcessState:
    if process.error:
        return ProcessState.UNREACHABLE
    if process.gauges.total("motet_draining"):
        return ProcessState.DRAINING
    # The empty name is the whole process.
    serving = process.gauges.total("motet_health_serving", service="")
    if serving is None:
        return ProcessState.STARTING
    return ProcessState.SERVING if serving else ProcessState.NOT_SERVING
