"""Tests of the figures of the benchmark `tls`."""

from __future__ import annotations

from services.benchmarks.suite.connections.tls import Rotation, figures_of
from services.benchmarks.tracing.caller_variants import API_KEY, LOG_LINES, TOKEN

PLAIN = {"plain text": [1.0, 1.0]}


def met(tls: float = 1.1, rate: float = 0.9, **rotation: object) -> list[bool]:
    """Return whether the figures meet their bars, if TLS takes `tls` times as long and has `rate` times the rate."""
    counts = Rotation(**{"changes": 29, "completed": 100} | rotation)  # type: ignore[arg-type]
    variants = {name: [1.0, 1.0] for name in (API_KEY, TOKEN, LOG_LINES)}
    figures = figures_of(PLAIN | {"TLS": [tls, tls]}, PLAIN | variants, PLAIN | {"TLS": [rate, rate]}, counts)
    return [figure.met for figure in figures if figure.met is not None]


def test_a_run_without_a_failed_call_and_with_little_overhead_meets_every_bar() -> None:
    assert all(met())


def test_more_overhead_a_lower_rate_a_failed_call_or_an_old_certificate_misses_a_bar() -> None:
    for missed in (
        met(tls=1.2),
        met(rate=0.8),
        met(failures=["WORKER_LOST"]),
        met(late=1),
        met(completed=0),
        met(changes=0),
    ):
        assert missed.count(False) == 1
