"""The benchmark `overlap`: the share of the workers' time in a request with text and three media."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from motet.client import Client
from motet.core.clock import now
from motet.core.service import Motet
from services.benchmarks.load.client_trace import ClientTrace, text_request, trace_request
from services.benchmarks.load.conversations import THREE_MEDIA
from services.benchmarks.load.open_loop import poisson_requests, send_all
from services.benchmarks.load.scripted_toys import ToyTimings, scripted_prompt
from services.benchmarks.reports import plots
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.statistics import alternating, median
from services.benchmarks.tracing.bare_stubs import BareStubs, DecodeSchedule, bare_stubs
from services.benchmarks.tracing.critical_path import RequestStages, TracedArrival, ideal_ends, system_bound
from services.benchmarks.tracing.deployment import (
    RecordedDeployment,
    RecordedDeploymentConfig,
    collect_spans,
    recorded_deployment,
)
from services.benchmarks.tracing.request_stages import spans_by_request, stages_of
from services.benchmarks.tracing.spans import LANGUAGE_MODEL, WorkerSpan

TOKEN = 0.012
"""Seconds a token of the toy language model."""

DECODE = (0.5, 0.7, 0.9)
"""Seconds of a decode of the first, second and third modality by the toy decoders."""

LOADED_TOKEN, LOADED_DECODE = 0.004, 0.4
"""Seconds a token and a decode under load. All modalities take the same time, so all decoders have the same load."""

LOAD = 0.8
"""Offered load as a share of the decoders' maximum throughput."""

STEPS = 20


def measure(bundle: str | None, rounds: int, seconds: float, seed: int, plot: Path | None) -> Report:
    """Measure rounds of one request, then `seconds` of load.

    Without a bundle, toys run. With a bundle, its models run and there is no load. `plot` is the file of a Gantt chart
    of one request.
    """
    if plot is not None:
        plots.require_matplotlib()
    return asyncio.run(_measure(bundle, rounds, seconds, seed, plot))


async def _measure(bundle: str | None, rounds: int, seconds: float, seed: int, plot: Path | None) -> Report:
    settings: dict[str, Any] = {"bundle": bundle or "toys", "rounds": rounds, "seed": seed}
    figures, details = await _single_request(bundle, rounds, plot)
    notes = [
        "The bound is the longest chain of the workers' measured times in the same request: no orchestrator can be "
        "faster. Sequential and barrier call the same workers with bare stubs.",
    ]
    if bundle is None:
        load_figures, load_details = await _load(seconds, seed)
        settings |= {"load": LOAD, "seconds": seconds}
        notes.append(
            "Under load, the ideal serves the same arrivals with the same measured times, first come first served, by "
            "an orchestrator that takes no time. The system bound is the earliest end of the load under any schedule."
        )
        figures, details = figures + load_figures, details | load_details
    return Report("overlap", settings, figures, notes, details)


async def _single_request(bundle: str | None, rounds: int, plot: Path | None) -> tuple[list[Figure], dict[str, Any]]:
    config = RecordedDeploymentConfig(bundle)
    modalities = config.manifest.independent
    text = THREE_MEDIA
    if bundle is None:
        step = {modality: seconds / STEPS for modality, seconds in zip(modalities, DECODE, strict=True)}
        config = RecordedDeploymentConfig(timings=ToyTimings(token=TOKEN, step=step, steps=STEPS))
        text = scripted_prompt(modalities, 10, 10, 30)
    async with (
        recorded_deployment(config) as deployment,
        Client(deployment.orchestrator) as client,
        bare_stubs(deployment) as stubs,
    ):
        samples = await alternating(rounds, _candidates(client, stubs, deployment, text), warmup=1)
    if plot is not None:
        last = samples["motet"][-1]
        draw_request(plot, last.spans, last.stages, last.seconds)
    details = {
        "seconds": {name: [sample.seconds for sample in each] for name, each in samples.items()},
        "bounds": [sample.stages.bound for sample in samples["motet"]],
    }
    return _compare(samples), details


@dataclass(frozen=True, slots=True)
class TimedRequest:
    """One request: its total seconds, and the spans of its workers. Requests by bare stubs have no spans."""

    seconds: float
    spans: Sequence[WorkerSpan] = ()

    @property
    def stages(self) -> RequestStages:
        """The stages of the request."""
        return stages_of(self.spans)


def _candidates(
    motet: Motet, stubs: BareStubs, deployment: RecordedDeployment, text: str
) -> Mapping[str, Callable[[], Coroutine[Any, Any, TimedRequest]]]:
    """Return the candidates by name. Every request has a new seed, because an equal request is a cache hit."""

    async def by_stubs(schedule: DecodeSchedule, seeds: count[int]) -> TimedRequest:
        start = now()
        await stubs.generate(text, next(seeds), schedule)
        return TimedRequest(now() - start)

    async def by_motet(seeds: count[int]) -> TimedRequest:
        start = now()
        trace = await trace_request(motet, text_request(text, next(seeds)))
        seconds = now() - start
        spans = await collect_spans(deployment, _worker_calls(trace))
        # Workers write the spans of the stubs' calls late, so they can be among these.
        return TimedRequest(seconds, [span for span in spans if span.start >= start])

    return {
        "sequential": partial(by_stubs, DecodeSchedule.SEQUENTIAL, count()),
        "barrier": partial(by_stubs, DecodeSchedule.BARRIER, count()),
        "motet": partial(by_motet, count()),
    }


def _compare(samples: Mapping[str, Sequence[TimedRequest]]) -> list[Figure]:
    seconds = {name: median([sample.seconds for sample in each]) for name, each in samples.items()}
    motet = samples["motet"]
    bound = median([sample.stages.bound for sample in motet])
    efficiency = median([sample.stages.bound / sample.seconds for sample in motet])
    return [
        Figure("critical-path efficiency, one request", efficiency, "", bar=at_least(0.97)),
        Figure("total latency", seconds["motet"], "s", Baseline("bound", bound), at_most(1.03)),
        Figure("total latency", seconds["motet"], "s", Baseline("sequential", seconds["sequential"])),
        Figure("total latency", seconds["motet"], "s", Baseline("barrier", seconds["barrier"])),
    ]


async def _load(seconds: float, seed: int) -> tuple[list[Figure], dict[str, Any]]:
    modalities = RecordedDeploymentConfig().manifest.independent
    step = dict.fromkeys(modalities, LOADED_DECODE / STEPS)
    config = RecordedDeploymentConfig(timings=ToyTimings(token=LOADED_TOKEN, step=step, steps=STEPS), slots=1)
    text = scripted_prompt(modalities, 10, 10, 30)
    requests = poisson_requests(LOAD / LOADED_DECODE, seconds, [text], random.Random(seed))
    async with recorded_deployment(config) as deployment, Client(deployment.orchestrator) as client:
        first = await trace_request(client, text_request(text, 1))
        await collect_spans(deployment, _worker_calls(first))
        traces = await send_all(client, requests)
        calls = sum(_worker_calls(trace) for trace in traces if trace.succeeded)
        seeds = [request.seed for request in requests]
        spans = spans_by_request(await collect_spans(deployment, calls), seeds)
    arrivals, totals = [], []
    for request, trace in zip(requests, traces, strict=True):
        if trace.succeeded and trace.total is not None:
            arrivals.append(TracedArrival(request.at, stages_of(spans[request.seed])))
            totals.append(trace.total)
    slots = dict.fromkeys(modalities, 1) | {LANGUAGE_MODEL: 64}
    ideal = [end - arrival.at for end, arrival in zip(ideal_ends(arrivals, slots), arrivals, strict=True)]
    end = max(arrival.at + total for arrival, total in zip(arrivals, totals, strict=True))
    mean, ideal_mean = sum(totals) / len(totals), sum(ideal) / len(ideal)
    figures = [
        Figure(
            f"critical-path efficiency at {LOAD:.0%} load: ideal mean / measured mean",
            ideal_mean / mean,
            "",
            bar=at_least(0.85),
        ),
        Figure(
            "efficiency of the whole load: system bound / end",
            system_bound(arrivals, slots) / end,
            "",
            bar=at_least(0.85),
        ),
        Figure("mean total latency under load", mean, "s", Baseline("ideal", ideal_mean)),
        Figure("requests under load that did not succeed", len(requests) - len(totals), "", bar=at_most(0)),
    ]
    return figures, {"loaded": {"arrivals": [request.at for request in requests], "seconds": totals, "ideal": ideal}}


def _worker_calls(trace: ClientTrace) -> int:
    """Return the number of worker calls of a request. Raises `RuntimeError` for a request that did not succeed."""
    if not trace.succeeded:
        raise RuntimeError(f"a request failed: {trace.failure}")
    return 1 + len(trace.media)


def draw_request(path: Path, spans: Sequence[WorkerSpan], stages: RequestStages, seconds: float) -> None:
    """Draw a Gantt chart of one request that took `seconds`, each modality at most once, with its edges."""
    start = min(span.start for span in spans)
    takes = {
        decode.modality: tuple(stages.decodes[need].modality for need in decode.needs) for decode in stages.decodes
    }
    bars = []
    for span in spans:
        marks = tuple(span.start - start + at for _, at in span.signals)
        critical = span.worker in (LANGUAGE_MODEL, *(decode.modality for decode in stages.critical))
        inputs = takes.get(span.worker, ())
        bars.append(plots.GanttBar(span.worker, span.start - start, span.end - start, critical, marks, inputs))
    share = stages.bound / seconds
    plots.gantt_chart(path, bars, f"One request: {seconds:.2f} s, longest chain of workers {share:.1%}")
