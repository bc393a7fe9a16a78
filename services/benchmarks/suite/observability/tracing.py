"""The benchmark `tracing`: the throughput with the export of traces, and without it."""

from __future__ import annotations

import asyncio
from functools import partial

from services.benchmarks.reports.report import Baseline, Figure, Report, at_least
from services.benchmarks.reports.statistics import median
from services.benchmarks.suite.observability.cost import PLANS, Samples, cost_of_pictures, cost_of_plans
from services.benchmarks.suite.observability.span_sink import span_sink
from services.settings import settings_of
from services.tracing.settings import TracingSettings
from services.tracing.tracing import traced

TRACED, UNTRACED = "with traces", "without traces"

_MIN_RATIO = 0.95
"""Minimum share of the throughput that remains with traces."""


def measure(bundle: str, rounds: int, answers: int, smoke: bool) -> Report:
    """Measure rounds of `answers` answers with a span for each stage of each request, and without tracing."""
    if smoke:
        rounds, answers = 1, 1
    return asyncio.run(_measure(bundle, rounds, answers))


async def _measure(bundle: str, rounds: int, answers: int) -> Report:
    with span_sink() as endpoint:
        settings = settings_of(TracingSettings, {"tracing_endpoint": endpoint})
        off = settings.model_copy(update={"tracing_endpoint": None})
        candidates = {TRACED: partial(traced, settings, "benchmark"), UNTRACED: partial(traced, off, "benchmark")}
        pictures = await cost_of_pictures(bundle, rounds, answers, candidates)
        toys = await cost_of_plans(rounds, candidates)
    return Report(
        "tracing",
        {"bundle": bundle, "rounds": rounds, "answers": answers},
        [
            _figure("answers with a picture per second of processor time", pictures, answers, bar=True),
            _figure("plans of workers that take no time per second of processor time", toys, PLANS),
        ],
        [
            "The candidates alternate, in one process with all services. With traces, every request is recorded, and "
            "its spans are sent to another process. The processor time is that of all threads, with the export."
        ],
        {"processor_seconds": {"picture": pictures, "toys": toys}},
    )


def _figure(name: str, samples: Samples, answers: int, bar: bool = False) -> Figure:
    on, off = (answers / median(samples[each]) for each in (TRACED, UNTRACED))
    return Figure(name, on, "/s", Baseline(UNTRACED, off), at_least(_MIN_RATIO) if bar else None)
