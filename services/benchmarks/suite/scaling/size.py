"""The benchmark `size`: the fewest replicas of each worker that keep the latencies of a load, by simulation."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from motet.core.bundle import Manifest
from motet.core.errors import SettingsError
from services.benchmarks.load.client_trace import ClientTrace
from services.benchmarks.load.open_loop import ScheduledRequest
from services.benchmarks.reports.report import Baseline, Figure, Report
from services.benchmarks.reports.statistics import percentile
from services.benchmarks.simulation.bounds import request_bounds
from services.benchmarks.simulation.measured_costs import MeasuredCosts
from services.benchmarks.suite.simulate import DeploymentSize, SimulationResult, check, multi_tenant_load, simulate
from services.benchmarks.tracing.spans import LANGUAGE_MODEL
from services.factory import open_bundle

MAX_REPLICAS = 1000
"""Number of replicas of one worker beyond which a load counts as one that no size can serve."""

_IDLE_REQUESTS = 50
_IDLE_INTERVAL = 60.0
"""Mean seconds between two requests of an idle deployment."""

Limits = Mapping[str, float]
"""The maximum latency of each worker's part, in seconds: the first text, and each modality's media."""


def measure(
    rates: Sequence[float],
    bundle: str,
    costs: Path,
    media: float,
    tokens: int,
    width: int,
    slack: float,
    share: float,
    price: Mapping[str, float],
    requests: int,
    grain: int,
    seed: int,
) -> Report:
    """Search the smallest deployment for each of the `rates`, in requests per second.

    The load of a rate has a number of `requests`; `media` and `tokens` are those of `simulate`. A deployment is large
    enough if a `share` of all requests has its first text, and each of its media, within `slack` times the median
    latency of an idle deployment. `price` is the cost of one replica for an hour by kind of worker. Raises
    `SettingsError` for prices of an unknown kind, missing costs, and a load that no size can serve.
    """
    settings = dict(locals())
    del settings["costs"]
    manifest = open_bundle(bundle, ()).manifest
    measured = MeasuredCosts.read(costs)
    check(manifest, measured, DeploymentSize(dict.fromkeys(price, 1)))
    kinds = (LANGUAGE_MODEL, *manifest.independent)
    smallest = DeploymentSize(dict.fromkeys(kinds, 1), decoder_slots=width, grain=grain)
    idle = idle_latencies(manifest, measured, smallest, media, tokens, seed)
    limits = {kind: slack * latency for kind, latency in idle.items()}
    figures, sizes, size = [], {}, smallest
    for rate in sorted(set(rates)):
        load = multi_tenant_load(
            manifest.independent, rate, requests / rate, media, tokens, 1, 1.0, random.Random(seed)
        )

        def run(tried: DeploymentSize, load: Sequence[ScheduledRequest] = load) -> SimulationResult:
            return simulate(manifest, measured, tried, load, seed=seed)

        # A higher rate never needs fewer replicas.
        size, result = smallest_size(run, size, limits, share)
        sizes[f"{rate:g}"] = dict(size.replicas)
        bounds = request_bounds(manifest, measured, [each.text for each in load], size.replicas_of, size.slots_of)
        figures += _figures(rate, size, result, price, bounds)
    return Report(
        "size",
        settings,
        figures,
        [
            "Workers take the times of the calibration report, so the sizes are for the hardware of that report. "
            "Calibrate on the hardware that is to be sized.",
            f"With these replicas, {share:.0%} of the requests have their first text, and each of their media, within "
            f"{slack:g} x the median latency of an idle deployment.",
            "The bound of a worker is the load at which all of its replicas always run their best batch.",
        ],
        {"replicas": sizes, "limits": dict(limits)},
    )


def idle_latencies(
    manifest: Manifest, costs: MeasuredCosts, size: DeploymentSize, media: float, tokens: int, seed: int
) -> Mapping[str, float]:
    """Return the median seconds until the first text, and until each modality's media, of an idle deployment.

    A modality that no request has is left out.
    """
    seconds = _IDLE_REQUESTS * _IDLE_INTERVAL
    rng = random.Random(seed)
    load = multi_tenant_load(manifest.independent, 1 / _IDLE_INTERVAL, seconds, media, tokens, 1, 1.0, rng)
    traces = simulate(manifest, costs, size, load, seed=seed).traces
    latencies = {kind: _latencies(traces, kind) for kind in size.replicas}
    return {kind: percentile(samples, 50) for kind, samples in latencies.items() if samples}


def smallest_size(
    run: Callable[[DeploymentSize], SimulationResult], start: DeploymentSize, limits: Limits, share: float
) -> tuple[DeploymentSize, SimulationResult]:
    """Return the smallest deployment, from `start` on, in which a `share` of the requests keeps each limit.

    Return its result, too. `run` simulates the load. Each worker grows until its own part is in time. A slow language
    model delays the media, too, so each worker is then reduced as far as all parts stay in time. Raises `SettingsError`
    if no size suffices.
    """
    size, result = start, run(start)
    while late := late_kinds(result.traces, limits, share):
        size = replace(size, replicas={**size.replicas, **{kind: _more(size.replicas_of(kind)) for kind in late}})
        if max(size.replicas.values()) > MAX_REPLICAS:
            raise SettingsError(
                f"{MAX_REPLICAS} replicas of {', '.join(late)} are too few: allow more slack, or a smaller share"
            )
        result = run(size)
    for kind in size.replicas:
        while size.replicas_of(kind) > start.replicas_of(kind):
            fewer = replace(size, replicas={**size.replicas, kind: size.replicas_of(kind) - 1})
            reduced = run(fewer)
            if late_kinds(reduced.traces, limits, share):
                break
            size, result = fewer, reduced
    return size, result


def late_kinds(traces: Sequence[ClientTrace], limits: Limits, share: float) -> list[str]:
    """Return the workers whose parts are within the limit in less than a `share` of the requests that have them."""
    late = []
    for kind, limit in limits.items():
        latencies = _latencies(traces, kind)
        if sum(latency <= limit for latency in latencies) < share * len(latencies):
            late.append(kind)
    return late


def _more(replicas: int) -> int:
    return replicas + max(1, replicas // 4)


def _latencies(traces: Sequence[ClientTrace], kind: str) -> list[float]:
    """Return the latencies of one worker's parts. A part that did not complete has an infinite one."""
    if kind == LANGUAGE_MODEL:
        return [float("inf") if trace.first_text is None else trace.first_text for trace in traces]
    parts = [part for trace in traces for part in trace.media if part.modality == kind]
    return [float("inf") if part.finished is None else part.finished for part in parts]


def _figures(
    rate: float,
    size: DeploymentSize,
    result: SimulationResult,
    price: Mapping[str, float],
    bounds: Mapping[str, float],
) -> list[Figure]:
    name = f"at {rate:g}/s"
    figures = []
    for kind, number in size.replicas.items():
        figures.append(Figure(f"{name}: replicas of {kind}", number, ""))
        if kind in bounds:
            figures.append(Figure(f"{name}: bound of {kind}", bounds[kind], "requests/s", Baseline("load", rate)))
    totals = [trace.total for trace in result.traces if trace.total is not None]
    figures.append(Figure(f"{name}: total, p95", percentile(totals, 95), "s"))
    if price:
        hourly = sum(price.get(kind, 0.0) * number for kind, number in size.replicas.items())
        figures.append(Figure(f"{name}: cost of an hour", hourly, ""))
        figures.append(Figure(f"{name}: cost of 1,000 requests", 1000 * hourly / (3600 * rate), ""))
    return figures
