"""The benchmark `edges`: a medium that is made from others, from their last byte to the start of its decoder."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

from motet.client import Client
from motet.core.clock import now
from motet.core.media import MEBI
from motet.toys.manifest import MIX, TOY
from services.benchmarks.load.client_trace import text_request, trace_request
from services.benchmarks.load.scripted_toys import ToyTimings, scripted_prompt
from services.benchmarks.reports import plots
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.statistics import alternating, median
from services.benchmarks.suite.overlap import STEPS, TOKEN, draw_request
from services.benchmarks.tracing.bare_stubs import DecodeSchedule, bare_stubs
from services.benchmarks.tracing.critical_path import RequestStages
from services.benchmarks.tracing.deployment import RecordedDeploymentConfig, collect_spans, recorded_deployment
from services.benchmarks.tracing.request_stages import stages_of
from services.benchmarks.tracing.spans import WorkerSpan

DECODE = 0.5
"""Seconds of a decode. The decodes of the inputs overlap."""

SIZES = (64, MEBI // 4)
"""Sizes of each medium in bytes, one measurement each."""

_WORKERS = 1 + len(TOY.signals)
"""Number of worker calls of a request."""


@dataclass(frozen=True, slots=True)
class EdgeSample:
    """One request: its total seconds, and the spans of its workers."""

    seconds: float
    spans: Sequence[WorkerSpan]

    @property
    def stages(self) -> RequestStages:
        """The stages of the request, with its edges."""
        return stages_of(self.spans, TOY.takes)

    @property
    def handover(self) -> float:
        """Seconds from the last byte of the last input until the decoder that takes it starts."""
        inputs = [span.start + span.busy for span in self.spans if span.worker in TOY.independent]
        return next(span.start for span in self.spans if span.worker == MIX) - max(inputs)


def measure(rounds: int, plot: Path | None) -> Report:
    """Measure rounds of a request for a medium that is made from three others. `plot` is the file of a Gantt chart."""
    if plot is not None:
        plots.require_matplotlib()
    return asyncio.run(_measure(rounds, plot))


async def _measure(rounds: int, plot: Path | None) -> Report:
    figures: list[Figure] = []
    details: dict[str, object] = {}
    for size in SIZES:
        motet, bare = await _samples(rounds, size)
        efficiency = median([sample.stages.bound / sample.seconds for sample in motet])
        seconds, stubs = (median([sample.handover for sample in each]) for each in (motet, bare))
        media = f"media of {size:,} bytes"
        figures += [
            Figure(f"critical-path efficiency with edges, {media}", efficiency, "", bar=at_least(0.97)),
            Figure(
                f"hand-over of three inputs, {media}",
                seconds * 1e3,
                "ms",
                Baseline("bare stubs", stubs * 1e3),
                at_most(2.0),
            ),
        ]
        details[str(size)] = {name: [each.handover for each in one] for name, one in (("motet", motet), ("bare", bare))}
        if plot is not None:
            draw_request(plot, motet[-1].spans, motet[-1].stages, motet[-1].seconds)
    notes = [
        "Each input is decoded in its own process, and another process takes all of them. The hand-over lasts from the "
        "last byte of the last input in its decoder's process until the decoder that takes it starts in its own. Bare "
        "stubs receive the same bytes and send them on; they do not hash, store or report them.",
    ]
    return Report("edges", {"rounds": rounds, "decode": DECODE, "sizes": list(SIZES)}, figures, notes, details)


async def _samples(rounds: int, size: int) -> tuple[list[EdgeSample], list[EdgeSample]]:
    """Return the samples of Motet, and of bare stubs that call the same workers."""
    step = dict.fromkeys(TOY.signals, DECODE / STEPS)
    timings = ToyTimings(token=TOKEN, step=step, steps=STEPS, media_bytes=size)
    text = scripted_prompt(list(TOY.signals), 5, 5, 5)
    async with (
        recorded_deployment(RecordedDeploymentConfig(timings=timings)) as deployment,
        Client(deployment.orchestrator) as client,
        bare_stubs(deployment) as stubs,
    ):

        async def sample(send: Callable[[int], Awaitable[object]], seeds: count[int]) -> EdgeSample:
            start = now()
            await send(next(seeds))
            seconds = now() - start
            spans = await collect_spans(deployment, _WORKERS)
            return EdgeSample(seconds, [span for span in spans if span.start >= start])

        async def by_motet(seed: int) -> None:
            trace = await trace_request(client, text_request(text, seed))
            if not trace.succeeded:
                raise RuntimeError(f"a request failed: {trace.failure}")

        by_stubs = partial(stubs.generate, text, schedule=DecodeSchedule.EAGER)
        candidates = {"bare": partial(sample, by_stubs, count()), "motet": partial(sample, by_motet, count())}
        samples = await alternating(rounds, candidates, warmup=1)
    return samples["motet"], samples["bare"]
