"""The benchmark `metrics`: its baseline records nothing, and its figures compare the metrics with the client."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from motet.core.telemetry.families.stage_metrics import STAGE_SECONDS
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import Stage, StageTimer
from services.benchmarks.suite.observability.metrics import agreement_figures
from services.benchmarks.suite.observability.unrecorded import unrecorded


async def test_nothing_is_recorded_within_the_context_and_everything_after_it() -> None:
    registry = CollectorRegistry()
    counter = Counter("a", "a", ["b"], registry=registry).labels("c")
    gauge, histogram = Gauge("d", "d", registry=registry), Histogram("e", "e", registry=registry)
    stages = STAGE_SECONDS.labels(ServiceKind.DECODER, Stage.VAE, "unrecorded")

    def record() -> list[float | None]:
        counter.inc()
        gauge.inc(5)
        gauge.dec()
        histogram.observe(1)
        with StageTimer(ServiceKind.DECODER, "unrecorded", Stage.VAE):
            pass
        recorded = [registry.get_sample_value(*each) for each in (("a_total", {"b": "c"}), ("d", {}), ("e_sum", {}))]
        return [*recorded, sum(bucket.get() for bucket in stages._buckets)]

    async with unrecorded():
        assert record() == [0, 0, 0, 0]
    assert record() == [1, 4, 1, 1]


def test_the_overhead_is_compared_as_a_share_of_the_latency() -> None:
    client = {"first media": 1.0, "critical path": 1.9, "overhead": 0.1}
    metrics = {"first media": 1.06, "critical path": 1.95, "overhead": 0.05}

    figures = {figure.name: figure for figure in agreement_figures(client, metrics)}

    assert figures["first media, difference as a share of the client's value"].met is False
    assert figures["critical path, difference as a share of the client's value"].met is True
    assert figures["overhead, difference as a share of the latency"].value == pytest.approx(2.5)
    assert figures["overhead, mean of the metric"].ratio == pytest.approx(0.5)
