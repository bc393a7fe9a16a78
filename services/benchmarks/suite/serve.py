"""What a server does under load: an open loop of requests against any address, or against a Motet of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from motet.client import Client
from motet.core.errors import SettingsError
from motet.core.service import Motet
from services.benchmarks.load.client_trace import Heard, listen, request_of
from services.benchmarks.load.goodput import Objective, Outcome, best_goodput
from services.benchmarks.load.open_loop import Due, impatient, play, poisson, trace
from services.benchmarks.load.scripted_toys import Pace, prompt_of
from services.benchmarks.reports import plots
from services.benchmarks.reports.report import Figure, Report, at_most
from services.benchmarks.reports.statistics import median, percentile
from services.benchmarks.suite.overlap import ASKED
from services.benchmarks.tracing.deployment import Lineup, RecordedDeployment, playing, settled
from services.benchmarks.tracing.request_stages import by_request
from services.benchmarks.tracing.spans import Span
from services.benchmarks.tracing.waste import waste_of

STEPS, STEP, TOKEN = 20, 0.01, 0.005
"""Of toys: a decoder makes five pieces a second, one at a time."""

PATIENCE = 3.0
"""Where nothing is promised in seconds: so many times what an idle server takes."""

_SMOOTH = 3
"""Requests that an idle server is measured by."""


def measure(
    server: str | None = None,
    bundle: str | None = None,
    rates: Sequence[float] = (1, 2, 3, 4, 6),
    seconds: float = 8.0,
    trace_file: Path | None = None,
    prompts: Sequence[str] = (),
    first_text: float | None = None,
    first_media: float | None = None,
    total: float | None = None,
    hang_up: float = 0.1,
    seed: int = 0,
    plot: Path | None = None,
) -> Report:
    """Offer each rate for some seconds, or what a trace says, to a server, a bundle's own processes, or toys'.

    A share `hang_up` of the callers leaves at a random moment. `plot` is where latency against rate is drawn.
    Raises `SettingsError` for a trace or rates that cannot be used.
    """
    if plot is not None:
        plots.check()
    if not rates or min(rates) <= 0:
        raise SettingsError("rates must be more than 0 requests a second")
    if server is not None and bundle is not None:
        raise SettingsError("a server has its own bundle: give one of the two")
    rng = random.Random(seed)

    async def loaded() -> Report:
        async with _reached(server, bundle) as (motet, band):
            texts = prompts or _texts(band, rng)
            idle = [await _idle(motet, text) for text in texts[:_SMOOTH]]
            objective = _objective(idle, first_text, first_media, total)
            longest = max(one.total or 0.0 for one in idle)
            loads = [
                await _offered(motet, band, rate, impatient(due, hang_up, longest, rng))
                for rate, due in _loads(rates, seconds, trace_file, texts, rng)
            ]
            settings = {"server": server, "bundle": bundle, "hang_up": hang_up, "seed": seed}
            return _report(settings, band, objective, loads)

    report = asyncio.run(loaded())
    if plot is not None:
        _draw(plot, report.details["loads"])
    return report


@asynccontextmanager
async def _reached(server: str | None, bundle: str | None) -> AsyncIterator[tuple[Motet, RecordedDeployment | None]]:
    if server is not None:
        async with Client(server) as client:
            yield client, None
        return
    lineup = Lineup(bundle)
    if bundle is None:
        step = dict.fromkeys(lineup.manifest.signals, STEP)
        lineup = Lineup(pace=Pace(token=TOKEN, step=step, steps=STEPS), width=1)
    async with playing(lineup) as band, Client(band.orchestrator) as client:
        yield client, band


def _texts(band: RecordedDeployment | None, rng: random.Random) -> list[str]:
    """Prompts where none are given: for toys a mix of one, two and three media in any order."""
    if band is None or band.lineup.bundle is not None:
        return [ASKED]
    modalities = list(band.lineup.manifest.signals)
    return [prompt_of(rng.sample(modalities, count), 10, 10, 20) for count in (3, 1, 2, 1, 2, 3)]


async def _idle(motet: Motet, text: str) -> Heard:
    await listen(motet, request_of(text, 0))  # connects, and loads what is loaded late
    heard = await listen(motet, request_of(text, 1))
    if not heard.whole:
        raise SettingsError(f"the server does not answer when idle: {heard.refused or heard.state}")
    return heard


def _objective(
    idle: Sequence[Heard], first_text: float | None, first_media: float | None, total: float | None
) -> Objective:
    def promised(given: float | None, seen: list[float]) -> float | None:
        return given or (max(seen) * PATIENCE if seen else None)

    return Objective(
        promised(first_text, [one.first_text for one in idle if one.first_text is not None]),
        promised(first_media, [one.first_media for one in idle if one.first_media is not None]),
        promised(total, [one.total for one in idle if one.total is not None]),
    )


def _loads(
    rates: Sequence[float], seconds: float, trace_file: Path | None, texts: Sequence[str], rng: random.Random
) -> list[tuple[float, list[Due]]]:
    if trace_file is None:
        return [(rate, poisson(rate, seconds, texts, rng)) for rate in rates]
    due = trace(trace_file, rng)
    return [(len(due) / max(due[-1].at, 1e-9), due)]


@dataclass(frozen=True, slots=True)
class _Load:
    """What came of one load and, where the workers are ours, what they did for each request that is known."""

    outcome: Outcome
    spans: Mapping[int, Sequence[Span]]
    gone: Mapping[int, float]


async def _offered(motet: Motet, band: RecordedDeployment | None, rate: float, due: Sequence[Due]) -> _Load:
    if band is not None:
        band.spans()
    heard = await play(motet, due)
    outcome = Outcome(rate, max((one.at for one in due), default=1.0), heard)
    calls = sum(1 + len(one.media) for one in heard if one.whole)
    spans = {} if band is None else by_request(await settled(band, calls), [one.seed for one in due])
    gone = {one.seed: got.due + got.hung_up for one, got in zip(due, heard, strict=True) if got.hung_up is not None}
    return _Load(outcome, spans, gone)


def _report(
    settings: dict[str, Any], band: RecordedDeployment | None, objective: Objective, loads: Sequence[_Load]
) -> Report:
    outcomes = [load.outcome for load in loads]
    told = [outcome.as_dict(objective) for outcome in outcomes]
    figures = [
        Figure("goodput: most requests a second of which 90 % are in time", best_goodput(outcomes, objective), "1/s"),
        Figure("requests sent late, p99", max(load["sent_late_p99"] or 0.0 for load in told), "s"),
    ]
    for name, ranks in told[0]["latency"].items():
        figures += [Figure(f"{name}, {rank}, at {outcomes[0].rate:g}/s", ranks[rank], "s") for rank in ("p50", "p99")]
    if band is not None:
        figures += _costs(band.lineup, loads)
    return Report(
        "serve",
        settings | {"rates": [outcome.rate for outcome in outcomes], "promised": asdict(objective)},
        figures,
        [
            "Latencies count from when a request was due, not from when it was sent.",
            "In time is what came whole, its first text, first media and end within what is promised.",
        ],
        {"loads": told},
    )


def _costs(lineup: Lineup, loads: Sequence[_Load]) -> list[Figure]:
    wastes = [waste_of(load.spans, load.gone) for load in loads]
    worked = sum(waste.worked for waste in wastes)
    whole = sum(one.whole for load in loads for one in load.outcome.heard)
    idle = [after for waste in wastes for after in waste.idle_after]
    figures = [Figure("worker seconds per whole answer", worked / max(1, whole), "s")]
    if idle:
        step = _longest_step(lineup, loads)
        wasted = sum(waste.wasted for waste in wastes) / worked
        figures += [
            Figure("from hanging up to idle workers, p50", median(idle) * 1e3, "ms"),
            Figure("the same beyond one step, p99", (percentile(idle, 99) - step) * 1e3, "ms", bar=at_most(50)),
            Figure("work done after hanging up", 100 * wasted, "% of all", bar=at_most(1)),
        ]
    return figures


def _longest_step(lineup: Lineup, loads: Sequence[_Load]) -> float:
    """Seconds of a denoising step of the slowest decoder, as measured."""
    steps = lineup.steps
    found = [
        span.busy / steps[span.worker]
        for load in loads
        for spans in load.spans.values()
        for span in spans
        if span.whole and span.worker in steps
    ]
    return max(found, default=0.0)


def _draw(path: Path, loads: Sequence[dict[str, Any]]) -> None:
    names = dict.fromkeys(name for load in loads for name in load["latency"])
    lines = {
        f"{name}, {rank}": [load["latency"].get(name, {}).get(rank) for load in loads]
        for name in names
        if name in ("first text", "first media", "total")
        for rank in ("p50", "p95")
    }
    plots.curves(path, [load["rate"] for load in loads], lines, "requests a second", "seconds")
