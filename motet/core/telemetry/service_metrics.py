"""The metrics that a process exports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import ModuleType

import prometheus_client
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from motet.core.telemetry.families import (
    access_metrics,
    busy_metrics,
    call_metrics,
    decoder_metrics,
    encoder_metrics,
    generation_metrics,
    gpu_metrics,
    llm_metrics,
    media_metrics,
    pool_metrics,
    process_metrics,
    request_compute_metrics,
    stage_metrics,
    work_metrics,
)
from motet.core.telemetry.service_kind import ServiceKind

KINDS: Mapping[ModuleType, tuple[ServiceKind, ...]] = {
    process_metrics: tuple(ServiceKind),
    call_metrics: tuple(ServiceKind),
    stage_metrics: tuple(ServiceKind),
    access_metrics: (ServiceKind.ORCHESTRATOR,),
    generation_metrics: (ServiceKind.ORCHESTRATOR,),
    pool_metrics: (ServiceKind.ORCHESTRATOR,),
    llm_metrics: (ServiceKind.LANGUAGE_MODEL,),
    encoder_metrics: (ServiceKind.ENCODER,),
    decoder_metrics: (ServiceKind.DECODER,),
    busy_metrics: (ServiceKind.ENCODER, ServiceKind.LANGUAGE_MODEL, ServiceKind.DECODER),
    request_compute_metrics: (ServiceKind.ORCHESTRATOR,),
    gpu_metrics: (ServiceKind.ENCODER, ServiceKind.LANGUAGE_MODEL, ServiceKind.DECODER),
    work_metrics: (ServiceKind.ENCODER, ServiceKind.DECODER),
    media_metrics: (ServiceKind.ORCHESTRATOR, ServiceKind.ENCODER, ServiceKind.DECODER),
}
"""The modules of all families, and the kinds of services whose processes export them."""


def families() -> dict[MetricWrapperBase, tuple[ServiceKind, ...]]:
    """Return all families, and the kinds of services whose processes export them."""
    return {
        family: kinds
        for module, kinds in KINDS.items()
        for family in vars(module).values()
        if isinstance(family, MetricWrapperBase)
    }


class ServiceMetrics:
    """The metrics of a service's process.

    Every process imports the modules of all families. A family without labels has a sample from the start, so without
    this class every process would export zeros for what it never does.
    """

    def __init__(self, kind: ServiceKind) -> None:
        foreign = (family for family, kinds in families().items() if kind not in kinds)
        self._foreign = {described.name for family in foreign for described in family.describe()}

    def collect(self) -> Iterable[prometheus_client.Metric]:
        """Return the families of the service, and those of every process."""
        return (metric for metric in REGISTRY.collect() if metric.name not in self._foreign)
