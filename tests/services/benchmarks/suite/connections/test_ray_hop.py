"""Tests of the figures of the benchmark `ray`."""

from __future__ import annotations

from services.benchmarks.suite.connections.ray_hop import figures_of


def test_ray_is_compared_with_grpc_in_milliseconds_and_calls_per_second() -> None:
    latencies = {"gRPC": [0.001] * 100, "Ray": [0.004] * 98 + [0.009] * 2}
    median, high, rate = figures_of(latencies, {"gRPC": [800.0, 700.0, 600.0], "Ray": [100.0, 200.0, 300.0]}, 16)

    assert (median.value, high.value, rate.value) == (4.0, 9.0, 200.0)
    assert [figure.baseline and figure.baseline.value for figure in (median, high, rate)] == [1.0, 1.0, 700.0]
    assert rate.name == "calls per second, 16 at a time"
