"""The benchmark `serve`: a server under open-loop load, at any address or started for the benchmark."""

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
from services.benchmarks.load.client_trace import ClientTrace, text_request, trace_request
from services.benchmarks.load.conversations import THREE_MEDIA
from services.benchmarks.load.goodput import LatencyObjective, LoadResult, best_goodput
from services.benchmarks.load.media_check import MediaCheck
from services.benchmarks.load.open_loop import (
    ScheduledRequest,
    poisson_requests,
    read_trace,
    send_all,
    with_cancellations,
)
from services.benchmarks.load.scripted_toys import ToyTimings, scripted_prompt
from services.benchmarks.reports import plots
from services.benchmarks.reports.report import Baseline, Figure, Report, at_most
from services.benchmarks.reports.statistics import median, percentile
from services.benchmarks.tracing.deployment import (
    RecordedDeployment,
    RecordedDeploymentConfig,
    collect_spans,
    recorded_deployment,
)
from services.benchmarks.tracing.request_stages import spans_by_request
from services.benchmarks.tracing.spans import WorkerSpan
from services.benchmarks.tracing.waste import wasted_work

STEPS, STEP, TOKEN = 20, 0.01, 0.005
"""Toys: the denoising steps of a decode, and the seconds of a step and a token. A decoder makes five media a second."""

OBJECTIVE_FACTOR = 3.0
"""Default objective, as a multiple of the latency of an idle server."""

_IDLE_REQUESTS = 3
"""Number of requests that measure the idle server."""


def measure(
    server: str | None,
    bundle: str | None,
    rates: Sequence[float],
    seconds: float,
    trace_file: Path | None,
    prompts: Sequence[str],
    first_text: float | None,
    first_media: float | None,
    total: float | None,
    hang_up: float,
    seed: int,
    plot: Path | None,
) -> Report:
    """Offer each rate, in requests a second, for `seconds`, or the load of a trace file.

    The load goes to a server, to the processes of a bundle, or without both to toys. `first_text`, `first_media` and
    `total` are objectives in seconds. A share `hang_up` of the clients cancels at a random time. `plot` is the file of
    a chart of latency by rate. Raises `SettingsError` for an invalid trace file or rates.
    """
    if plot is not None:
        plots.require_matplotlib()
    if not rates or min(rates) <= 0:
        raise SettingsError("rates must be more than 0 requests a second")
    if server is not None and bundle is not None:
        raise SettingsError("a server has its own bundle: set either server or bundle")
    if trace_file is not None:
        # A wrong line is found before the deployment starts.
        read_trace(trace_file, random.Random(seed))
    rng = random.Random(seed)

    async def measure_loads() -> Report:
        async with _target(server, bundle) as (motet, deployment):
            texts = prompts or _default_prompts(deployment, rng)
            check = MediaCheck(decodes=server is not None or bundle is not None)
            idle = [await _idle_trace(motet, text, check) for text in texts[:_IDLE_REQUESTS]]
            objective = _objective(idle, first_text, first_media, total)
            longest = max(trace.total or 0.0 for trace in idle)
            loads = [
                await _measure_load(motet, deployment, rate, with_cancellations(requests, hang_up, longest, rng), check)
                for rate, requests in _loads(rates, seconds, trace_file, texts, rng)
            ]
            settings = {"server": server, "bundle": bundle, "hang_up": hang_up, "seed": seed}
            return _report(settings, deployment, objective, loads)

    report = asyncio.run(measure_loads())
    if plot is not None:
        _draw(plot, report.details["loads"])
    return report


@asynccontextmanager
async def _target(server: str | None, bundle: str | None) -> AsyncIterator[tuple[Motet, RecordedDeployment | None]]:
    """Yield a client of the server, or a client of a new deployment and the deployment."""
    if server is not None:
        async with Client(server) as client:
            yield client, None
        return
    config = RecordedDeploymentConfig(bundle)
    if bundle is None:
        step = dict.fromkeys(config.manifest.signals, STEP)
        config = RecordedDeploymentConfig(timings=ToyTimings(token=TOKEN, step=step, steps=STEPS), slots=1)
    async with recorded_deployment(config) as deployment, Client(deployment.orchestrator) as client:
        yield client, deployment


def _default_prompts(deployment: RecordedDeployment | None, rng: random.Random) -> list[str]:
    """Return the prompts of a load without configured prompts: for toys, one to three media in any order."""
    if deployment is None or deployment.config.bundle is not None:
        return [THREE_MEDIA]
    modalities = deployment.config.manifest.independent
    return [scripted_prompt(rng.sample(modalities, count), 10, 10, 20) for count in (3, 1, 2, 1, 2, 3)]


async def _idle_trace(motet: Motet, text: str, check: MediaCheck) -> ClientTrace:
    """Return the trace of one request to an idle server, after one request for warm-up."""
    await trace_request(motet, text_request(text, 0))
    trace = await trace_request(motet, text_request(text, 1))
    await check.check([trace])
    if not trace.succeeded:
        raise SettingsError(f"a request to the idle server failed: {trace.failure}")
    return trace


def _objective(
    idle: Sequence[ClientTrace], first_text: float | None, first_media: float | None, total: float | None
) -> LatencyObjective:
    """Return the configured objectives, and the defaults of those that are None."""

    def objective(configured: float | None, latencies: list[float]) -> float | None:
        return configured or (max(latencies) * OBJECTIVE_FACTOR if latencies else None)

    return LatencyObjective(
        objective(first_text, [trace.first_text for trace in idle if trace.first_text is not None]),
        objective(first_media, [trace.first_media for trace in idle if trace.first_media is not None]),
        objective(total, [trace.total for trace in idle if trace.total is not None]),
    )


def _loads(
    rates: Sequence[float], seconds: float, trace_file: Path | None, texts: Sequence[str], rng: random.Random
) -> list[tuple[float, list[ScheduledRequest]]]:
    """Return the rate and the requests of each load."""
    if trace_file is None:
        return [(rate, poisson_requests(rate, seconds, texts, rng)) for rate in rates]
    requests = read_trace(trace_file, rng)
    return [(len(requests) / max(requests[-1].at, 1e-9), requests)]


@dataclass(frozen=True, slots=True)
class _MeasuredLoad:
    """The result of one load. If the deployment is recorded, also the spans and the time of cancellation by seed."""

    result: LoadResult
    spans: Mapping[int, Sequence[WorkerSpan]]
    cancelled_at: Mapping[int, float]


async def _measure_load(
    motet: Motet,
    deployment: RecordedDeployment | None,
    rate: float,
    requests: Sequence[ScheduledRequest],
    check: MediaCheck,
) -> _MeasuredLoad:
    if deployment is not None:
        deployment.read_spans()  # discards the spans of earlier loads
    traces = await send_all(motet, requests)
    result = LoadResult(rate, max((request.at for request in requests), default=1.0), traces)
    spans: Mapping[int, Sequence[WorkerSpan]] = {}
    if deployment is not None:
        calls = sum(1 + len(trace.media) for trace in traces if trace.succeeded)
        spans = spans_by_request(await collect_spans(deployment, calls), [request.seed for request in requests])
    await check.check(traces)
    cancelled_at = {
        request.seed: trace.due + trace.cancelled_after
        for request, trace in zip(requests, traces, strict=True)
        if trace.cancelled_after is not None
    }
    return _MeasuredLoad(result, spans, cancelled_at)


def _report(
    settings: dict[str, Any],
    deployment: RecordedDeployment | None,
    objective: LatencyObjective,
    loads: Sequence[_MeasuredLoad],
) -> Report:
    results = [load.result for load in loads]
    details = [result.as_dict(objective) for result in results]
    goodput = best_goodput(results, objective)
    figures = [
        Figure("highest goodput with 90 % of requests within the objectives", goodput, "1/s"),
        Figure("delay from due to sent, p99", max(load["sent_late_p99"] or 0.0 for load in details), "s"),
    ]
    for name, ranks in details[0]["latency"].items():
        figures += [Figure(f"{name}, {rank}, at {results[0].rate:g}/s", ranks[rank], "s") for rank in ("p50", "p99")]
    if deployment is not None:
        figures += _worker_figures(deployment.config, loads)
    return Report(
        "serve",
        settings | {"rates": [result.rate for result in results], "objectives": asdict(objective)},
        figures,
        [
            "Latencies count from when a request was due, not from when it was sent.",
            "A request meets the objectives if it succeeds and its first text, first media and total latency are "
            "within them. It succeeds if all its parts are complete, and if its media decode and have the size and "
            "length of the first of their modality. The media of toys are no files, so only their bytes count.",
        ],
        {"loads": details},
    )


def _worker_figures(config: RecordedDeploymentConfig, loads: Sequence[_MeasuredLoad]) -> list[Figure]:
    """Return the figures about the work of each request and the work after cancellation."""
    wastes = [wasted_work(load.spans, load.cancelled_at) for load in loads]
    total = sum(waste.total for waste in wastes)
    succeeded = sum(trace.succeeded for load in loads for trace in load.result.traces)
    idle_after = [seconds for waste in wastes for seconds in waste.idle_after]
    figures = [Figure("worker seconds per successful request", total / max(1, succeeded), "s")]
    if idle_after:
        step = _longest_step(config, loads)
        beyond = percentile(idle_after, 99) - step
        wasted = sum(waste.wasted for waste in wastes) / total
        longest = Baseline("longest step", step * 1e3)
        figures += [
            Figure("cancellation to idle workers, p50", median(idle_after) * 1e3, "ms"),
            Figure("cancellation to idle workers beyond one step, p99", beyond * 1e3, "ms", longest, at_most(1)),
            Figure("work after cancellation", 100 * wasted, "% of all", bar=at_most(1)),
        ]
    return figures


def _longest_step(config: RecordedDeploymentConfig, loads: Sequence[_MeasuredLoad]) -> float:
    """Return the mean seconds of a denoising step in the slowest decode."""
    steps = config.steps
    seconds = [
        span.busy / steps[span.worker]
        for load in loads
        for spans in load.spans.values()
        for span in spans
        if span.finished and span.worker in steps
    ]
    return max(seconds, default=0.0)


def _draw(path: Path, loads: Sequence[dict[str, Any]]) -> None:
    names = dict.fromkeys(name for load in loads for name in load["latency"])
    lines = {
        f"{name}, {rank}": [load["latency"].get(name, {}).get(rank) for load in loads]
        for name in names
        if name in ("first text", "first media", "total")
        for rank in ("p50", "p95")
    }
    plots.line_chart(path, [load["rate"] for load in loads], lines, "requests a second", "seconds")
