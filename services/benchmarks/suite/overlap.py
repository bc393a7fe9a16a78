"""How much of an answer's time is the workers' own: text and three media, one request alone and many at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from motet.client import Client
from motet.core.service import Motet
from services.benchmarks.load.client_trace import Heard, listen, request_of
from services.benchmarks.load.open_loop import play, poisson
from services.benchmarks.load.scripted_toys import Pace, prompt_of
from services.benchmarks.reports import plots
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.statistics import median
from services.benchmarks.tracing.bare_stubs import BareRequest, BareStubs, bare_stubs
from services.benchmarks.tracing.critical_path import Arrival, Stages, ideal, system_bound
from services.benchmarks.tracing.deployment import Lineup, RecordedDeployment, playing, settled
from services.benchmarks.tracing.request_stages import by_request, stages_of
from services.benchmarks.tracing.spans import LANGUAGE_MODEL, Span

ASKED = "Show me a penguin on a blue background, play a low note on a flute and make a clip of a car growing."
"""For a bundle; toys are told numbers."""

TOKEN = 0.012
MAKE = (0.5, 0.7, 0.9)
"""Seconds that toys take for a token, and for the first, second and third modality."""

LOADED_TOKEN, LOADED_MAKE = 0.004, 0.4
"""The same under load, where all modalities take equally long, so that all are equally loaded."""

LOAD = 0.8
"""Of what the decoders could do at most."""

STEPS = 20


def measure(
    bundle: str | None = None, rounds: int = 5, seconds: float = 25.0, seed: int = 0, plot: Path | None = None
) -> Report:
    """Rounds of one request alone, then `seconds` of load; with toys or, except for the load, a bundle's models.

    `plot` is where a Gantt picture of one request goes.
    """
    if plot is not None:
        plots.check()
    return asyncio.run(_measure(bundle, rounds, seconds, seed, plot))


async def _measure(bundle: str | None, rounds: int, seconds: float, seed: int, plot: Path | None) -> Report:
    settings: dict[str, Any] = {"bundle": bundle or "toys", "rounds": rounds, "seed": seed}
    figures, details = await _alone(bundle, rounds, plot)
    notes = [
        "The bound is the longest chain of the workers' own measured seconds in the same request: nothing that waits "
        "for the same things could be faster. Sequential and barrier call the same workers by bare stubs.",
    ]
    if bundle is None:
        loaded, more = await _loaded(seconds, seed)
        settings |= {"load": LOAD, "seconds": seconds}
        notes.append(
            "Under load, the ideal serves the same arrivals with the same measured work, first come first served, and "
            "orchestrates in no time; the system bound is the earliest end that any schedule at all could reach."
        )
        figures, details = figures + loaded, details | more
    return Report("overlap", settings, figures, notes, details)


async def _alone(bundle: str | None, rounds: int, plot: Path | None) -> tuple[list[Figure], dict[str, Any]]:
    lineup = Lineup(bundle)
    modalities = list(lineup.manifest.signals)
    text = ASKED
    if bundle is None:
        step = {modality: make / STEPS for modality, make in zip(modalities, MAKE, strict=True)}
        lineup = Lineup(pace=Pace(token=TOKEN, step=step, steps=STEPS))
        text = prompt_of(modalities, 10, 10, 30)
    async with playing(lineup) as band, Client(band.orchestrator) as client, bare_stubs(band) as bare:
        totals, stages = await _rounds(client, bare, band, text, rounds, plot)
    details = {"seconds": totals, "bounds": [one.bound for one in stages]}
    return _compared(totals, stages), details


async def _rounds(
    motet: Motet, bare: BareStubs, band: RecordedDeployment, text: str, rounds: int, plot: Path | None
) -> tuple[dict[str, list[float]], list[Stages]]:
    """Seconds of each way in turns, and the stages of Motet's. The first round only warms up.

    Each has a seed of its own: an equal request would be answered with what was made before.
    """
    ways = {"sequential": BareRequest.SEQUENTIAL, "barrier": BareRequest.BARRIER, "motet": None}
    totals: dict[str, list[float]] = {way: [] for way in ways}
    stages: list[Stages] = []
    for number in range(rounds + 1):
        for way, order in list(ways.items())[:: -1 if number % 2 else 1]:
            band.spans()
            begun = perf_counter()
            if order is None:
                heard = await listen(motet, request_of(text, number))
                calls = _calls(heard)
            else:
                await bare.answer(text, number, order)
            total = perf_counter() - begun
            if number == 0:
                continue
            totals[way].append(total)
            if order is None:
                spans = await settled(band, calls)
                stages.append(stages_of(spans))
                if plot is not None and number == rounds:
                    _draw(plot, spans, stages[-1], total)
    return totals, stages


def _compared(totals: dict[str, list[float]], stages: Sequence[Stages]) -> list[Figure]:
    measured = median(totals["motet"])
    shares = [stage.bound / total for stage, total in zip(stages, totals["motet"], strict=True)]
    bound = median([stage.bound for stage in stages])
    return [
        Figure("critical-path efficiency, one request", median(shares), "", bar=at_least(0.97)),
        Figure("total latency", measured, "s", Baseline("the bound", bound), at_most(1.03)),
        Figure("total latency", measured, "s", Baseline("sequential", median(totals["sequential"]))),
        Figure("total latency", measured, "s", Baseline("barrier", median(totals["barrier"]))),
    ]


async def _loaded(seconds: float, seed: int) -> tuple[list[Figure], dict[str, Any]]:
    modalities = list(Lineup().manifest.signals)
    step = dict.fromkeys(modalities, LOADED_MAKE / STEPS)
    lineup = Lineup(pace=Pace(token=LOADED_TOKEN, step=step, steps=STEPS), width=1)
    rng = random.Random(seed)
    text = prompt_of(modalities, 10, 10, 30)
    due = poisson(LOAD / LOADED_MAKE, seconds, [text], rng)
    async with playing(lineup) as band, Client(band.orchestrator) as client:
        await settled(band, _calls(await listen(client, request_of(text, 1))))
        heard = await play(client, due)
        calls = sum(_calls(one) for one in heard if one.whole)
        grouped = by_request(await settled(band, calls), [one.seed for one in due])
    arrivals, totals = [], []
    for one, got in zip(due, heard, strict=True):
        if got.whole and got.total is not None:
            arrivals.append(Arrival(one.at, stages_of(grouped[one.seed])))
            totals.append(got.total)
    width = dict.fromkeys(modalities, 1) | {LANGUAGE_MODEL: 64}
    best = [end - arrival.at for end, arrival in zip(ideal(arrivals, width), arrivals, strict=True)]
    ended = max(arrival.at + total for arrival, total in zip(arrivals, totals, strict=True))
    mean = sum(totals) / len(totals)
    figures = [
        Figure(
            f"critical-path efficiency at {LOAD:.0%} load: mean of the ideal / mean measured",
            sum(best) / len(best) / mean,
            "",
            bar=at_least(0.85),
        ),
        Figure(
            "the same of the whole: system bound / end", system_bound(arrivals, width) / ended, "", bar=at_least(0.85)
        ),
        Figure("mean total latency under load", mean, "s", Baseline("the ideal", sum(best) / len(best))),
        Figure("requests under load that did not come whole", len(due) - len(totals), "", bar=at_most(0)),
    ]
    return figures, {"loaded": {"arrivals": [one.at for one in due], "seconds": totals, "ideal": best}}


def _calls(heard: Heard) -> int:
    """How many workers an answer took. Raises `RuntimeError` for one that did not come whole."""
    if not heard.whole:
        raise RuntimeError(f"a request came to nothing: {heard.refused or heard.state}")
    return 1 + len(heard.media)


def _draw(path: Path, spans: Sequence[Span], stages: Stages, total: float) -> None:
    start = min(span.begun for span in spans)
    rows = []
    for span in spans:
        marks = tuple(span.begun - start + at for _, at in span.marks)
        critical = span.worker == LANGUAGE_MODEL or (
            stages.critical is not None and span.worker == stages.critical.modality
        )
        rows.append(plots.Row(span.worker, span.begun - start, span.ended - start, critical, marks))
    share = stages.bound / total
    plots.gantt(path, rows, f"One request: {total:.2f} s, {share:.1%} of it on the workers' longest chain")
