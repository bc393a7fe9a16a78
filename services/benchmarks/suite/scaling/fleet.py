"""The benchmark `fleet`: the work for a request with a thousand replicas, and several orchestrators over one fleet."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from time import process_time

from motet.core.bundle import Manifest
from motet.core.clock import now
from motet.transport.server import freeze_garbage_collector
from services.benchmarks.load.client_trace import ClientTrace, latencies
from services.benchmarks.load.open_loop import ScheduledRequest, poisson_requests, send_all
from services.benchmarks.load.scripted_toys import scripted_prompt
from services.benchmarks.reports.report import Baseline, Figure, Report, at_most
from services.benchmarks.reports.statistics import alternating, median, percentile
from services.benchmarks.simulation.measured_costs import MeasuredCosts
from services.benchmarks.simulation.virtual_loop import run_virtually
from services.benchmarks.suite.simulate import (
    DeploymentSize,
    check,
    simulate,
    simulated_orchestrator,
    simulated_workers,
)
from services.benchmarks.tracing.spans import LANGUAGE_MODEL
from services.factory import open_bundle

_TOKENS = 20
"""Number of text tokens before and after each signal."""
_QUEUE_SECONDS = 60.0
_IDLE_SECONDS = 5.0
"""Simulated time in which a fleet starts, and then the one in which its idle CPU time is measured."""


def measure(
    replicas: int,
    few: int,
    requests: int,
    rate: float,
    load: float,
    orchestrators: int,
    rounds: int,
    bundle: str,
    costs: Path,
    width: int,
    grain: int,
    seed: int,
) -> Report:
    """Simulate fleets of `replicas` and of `few` replicas of each worker, with `rate` requests a second per replica.

    Each request has one media part of each modality that takes no other media. A decoder has `width` slots. The rate of
    the requests that several orchestrators share is the one at which the busiest workers compute for a share `load` of
    the time, if nothing shares a batch. Raises `SettingsError` for missing costs.
    """
    manifest = open_bundle(bundle, ()).manifest
    measured = MeasuredCosts.read(costs)

    def size_of(number: int) -> DeploymentSize:
        kinds = (LANGUAGE_MODEL, *manifest.independent)
        return DeploymentSize(dict.fromkeys(kinds, number), decoder_slots=width, grain=grain)

    check(manifest, measured, size_of(few))

    def requests_of(count: int, each_second: float) -> list[ScheduledRequest]:
        text = scripted_prompt(list(manifest.independent), _TOKENS, _TOKENS, _TOKENS)
        return poisson_requests(each_second, count / each_second, [text], random.Random(seed))

    async def work(number: int) -> float:
        """Return the CPU seconds for one request."""
        sent = requests_of(requests, rate * number)
        return await asyncio.to_thread(_work, manifest, measured, size_of(number), sent, seed)

    samples = asyncio.run(alternating(rounds, {str(number): partial(work, number) for number in (replicas, few)}))
    many, baseline = (median(each) * 1e3 for each in samples.values())
    alone = simulate(
        manifest, measured, size_of(few), requests_of(requests // 4, rate * few / 20), _QUEUE_SECONDS, seed
    )
    busy = max(map(sum, alone.busy.values())) / len(alone.traces)
    shared = requests_of(2 * requests, load * few / busy)
    figures = [
        Figure(
            f"CPU time for a request, {replicas} replicas of each worker",
            many,
            "ms",
            Baseline(f"{few} replicas of each worker", baseline),
            at_most(1.2),
        ),
        *_spread(manifest, measured, size_of(few), shared, orchestrators, seed),
    ]
    return Report(
        "fleet",
        {
            "replicas": replicas,
            "few": few,
            "requests": requests,
            "rate": rate,
            "load": load,
            "orchestrators": orchestrators,
            "rounds": rounds,
            "bundle": bundle,
            "width": width,
            "grain": grain,
            "seed": seed,
        },
        figures,
        [
            "Orchestrator, pipeline and pools are the real ones. Workers take the measured times of real workers, on a "
            "virtual clock. The CPU time includes that of the simulated workers.",
            "Both fleets have the same load per replica. The CPU time is that which the requests add to an idle fleet, "
            "whose loads are watched.",
            f"Several orchestrators share a fleet of {few} replicas of each worker, and the same requests are divided "
            "between them at random. Each knows the calls of the others by the reports of the workers only. Without "
            f"batches, the busiest workers would compute for {100 * load:.0f} % of the time.",
        ],
    )


def _work(
    manifest: Manifest, costs: MeasuredCosts, size: DeploymentSize, requests: Sequence[ScheduledRequest], seed: int
) -> float:
    """Return the CPU seconds that one request adds to those of an idle fleet."""

    async def program() -> float:
        rng = random.Random(seed)
        workers = simulated_workers(manifest, costs, size, rng)
        async with simulated_orchestrator(manifest, workers, _QUEUE_SECONDS, rng) as motet:
            await asyncio.sleep(_IDLE_SECONDS)
            freeze_garbage_collector()
            at, began = now(), process_time()
            await asyncio.sleep(_IDLE_SECONDS)
            idle = (process_time() - began) / (now() - at)
            at, began = now(), process_time()
            await send_all(motet, requests)
            return (process_time() - began - idle * (now() - at)) / len(requests)

    return run_virtually(program())


def _spread(
    manifest: Manifest,
    costs: MeasuredCosts,
    size: DeploymentSize,
    requests: Sequence[ScheduledRequest],
    orchestrators: int,
    seed: int,
) -> list[Figure]:
    """Compare several orchestrators over one fleet with one orchestrator: latencies, and how even the work is."""
    (alone, even), (several, uneven) = (
        _shared(manifest, costs, size, requests, number, seed) for number in (1, orchestrators)
    )
    label = f"{orchestrators} orchestrators"
    figures = [
        Figure(f"{name}, p95, {label}", several[name], "s", Baseline("one orchestrator", alone[name]), at_most(1.2))
        for name in alone
    ]
    return figures + [
        Figure(f"busiest {kind}, {label}", uneven[kind], "x the mean", Baseline("one orchestrator", even[kind]))
        for kind in even
    ]


def _shared(
    manifest: Manifest,
    costs: MeasuredCosts,
    size: DeploymentSize,
    requests: Sequence[ScheduledRequest],
    orchestrators: int,
    seed: int,
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return latencies, p95, and the busy seconds of the busiest replica of each kind as a multiple of the mean."""
    rng = random.Random(seed)
    parts: list[list[ScheduledRequest]] = [[] for _ in range(orchestrators)]
    for request in requests:
        rng.choice(parts).append(request)

    async def program() -> tuple[list[ClientTrace], dict[str, float]]:
        workers = simulated_workers(manifest, costs, size, rng)
        async with AsyncExitStack() as stack:
            all_motets = [
                await stack.enter_async_context(simulated_orchestrator(manifest, workers, _QUEUE_SECONDS, rng))
                for _ in parts
            ]
            sent = await asyncio.gather(*map(send_all, all_motets, parts))
            busy = {kind: [replica.batch.busy for replica in replicas] for kind, replicas in workers.items()}
            busiest = {kind: max(each) * len(each) / (sum(each) or 1.0) for kind, each in busy.items()}
            return [trace for traces in sent for trace in traces], busiest

    traces, busiest = run_virtually(program())
    succeeded = [trace for trace in traces if trace.succeeded]
    return {name: percentile(samples, 95) for name, samples in latencies(succeeded).items()}, busiest
