"""The benchmark `tracing`: the throughput with the export of traces, and without it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count, islice
from time import process_time

from motet.core.service import Motet
from services.benchmarks.load.scripted_toys import scripted_prompt
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least
from services.benchmarks.reports.statistics import alternating, median
from services.benchmarks.suite.observability.span_sink import span_sink
from services.benchmarks.suite.orchestrator_overhead import generate
from services.embedded import embedded
from services.factory import Factory, open_bundle
from services.settings import settings_of
from services.tracing.settings import TracingSettings
from services.tracing.tracing import traced

TRACED, UNTRACED = "with traces", "without traces"

_PICTURE = "Draw a penguin on a blue background."
_PLANS = 40
"""Number of plans of toys in a round. A plan takes milliseconds."""

_MIN_RATIO = 0.95
"""Minimum share of the throughput that remains with traces."""


def measure(bundle: str, rounds: int, answers: int, smoke: bool) -> Report:
    """Measure rounds of `answers` answers with a span for each stage of each request, and without tracing."""
    if smoke:
        rounds, answers = 1, 1
    return asyncio.run(_measure(bundle, rounds, answers))


async def _measure(bundle: str, rounds: int, answers: int) -> Report:
    with span_sink() as endpoint:
        pictures = await _cost(Factory.of_bundle(open_bundle(bundle)), _PICTURE, rounds, answers, endpoint)
        text = scripted_prompt(("image", "audio"), 1, 0, 0)
        toys = await _cost(Factory.of_toys(), text, rounds, _PLANS, endpoint)
    return Report(
        "tracing",
        {"bundle": bundle, "rounds": rounds, "answers": answers},
        [
            _figure("answers with a picture per second of processor time", pictures, answers, bar=True),
            _figure("plans of workers that take no time per second of processor time", toys, _PLANS),
        ],
        [
            "The candidates alternate, in one process with all services. With traces, every request is recorded, and "
            "its spans are sent to another process. The processor time is that of all threads, with the export."
        ],
        {"processor_seconds": {"picture": pictures, "toys": toys}},
    )


def _figure(name: str, samples: Mapping[str, Sequence[float]], answers: int, bar: bool = False) -> Figure:
    on, off = (answers / median(samples[each]) for each in (TRACED, UNTRACED))
    return Figure(name, on, "/s", Baseline(UNTRACED, off), at_least(_MIN_RATIO) if bar else None)


async def _cost(factory: Factory, text: str, rounds: int, answers: int, endpoint: str) -> dict[str, list[float]]:
    """Return the seconds of processor time of each round's answers, by candidate."""
    # An answer with a known seed would come from a cache.
    seeds = count()

    async def cost(motet: Motet, candidate: str) -> float:
        settings = settings_of(TracingSettings, {"tracing_endpoint": endpoint if candidate == TRACED else None})
        async with traced(settings, "benchmark"):
            started = process_time()
            for seed in islice(seeds, answers):
                await generate(motet, text, seed)
        # The end of the context has sent the last spans.
        return process_time() - started

    async with embedded(factory) as motet:
        return await alternating(rounds, {each: partial(cost, motet, each) for each in (TRACED, UNTRACED)}, 1)
