"""The benchmark `orchestrator`, with few requests."""

from __future__ import annotations

import pytest

from services.benchmarks.suite import orchestrator_overhead


def test_the_overhead_is_a_multiple_of_the_overhead_of_bare_stubs() -> None:
    report = orchestrator_overhead.measure(requests=3, rounds=1, plans=4, concurrency=2)

    for figure in report.figures[:2]:
        assert figure.name.startswith("overhead per worker call")
        assert figure.unit == "ms"
        assert figure.baseline is not None
        assert figure.baseline.value > 0
        assert figure.ratio == pytest.approx(figure.value / figure.baseline.value)
    assert report.figure("overhead per worker call, p50").value > 0
    assert report.figure("overhead per worker call, p50").bar_text == "<= 1.6 x"
    assert {name: len(samples) for name, samples in report.details["overhead_ms"].items()} == {
        "motet": 3,
        "bare_stubs": 3,
    }
    rate = report.figure("plans per second, orchestrator in the client's process")
    assert rate.ratio is not None
    assert rate.ratio > 0
