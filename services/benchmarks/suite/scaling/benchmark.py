"""A day of bursts for three fleets: one that follows the demand, one of a fixed size, and one that knows the load."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from motet.core.bundle import Manifest
from motet.core.caller import ANONYMOUS
from motet.core.clock import now
from motet.core.workers import Decoder, LanguageModel, Workers
from orchestrator.orchestrator import Orchestrator
from orchestrator.pool.member import Member
from orchestrator.pool.pool import Pool
from orchestrator.pool.workers import PooledDecoder, PooledLanguageModel
from orchestrator.settings import MAX_SECONDS
from services.benchmarks.load.client_trace import ClientTrace, latencies
from services.benchmarks.load.open_loop import ScheduledRequest, send_all
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.statistics import percentiles
from services.benchmarks.simulation.measured_costs import MeasuredCosts, TickCosts
from services.benchmarks.simulation.orchestrator_settings import simulated_settings
from services.benchmarks.simulation.virtual_loop import run_virtually
from services.benchmarks.simulation.workers import NoEncoder, SimulatedDecoder, SimulatedLanguageModel
from services.benchmarks.suite.scaling.autoscaler import Autoscaler, ScalingPolicy
from services.benchmarks.suite.scaling.bursts import Burst, oracle_of, random_bursts, requests_of
from services.benchmarks.suite.scaling.elastic_pool import ElasticPool
from services.benchmarks.suite.simulate import DeploymentSize, check
from services.benchmarks.tracing.spans import LANGUAGE_MODEL
from services.factory import open_bundle

FLEETS = ("fixed", "oracle", "scaled")
_UTILISATION = 0.8
"""Share of a replica's capacity that a burst uses."""
_TOKENS = 4
_LINGER = 60.0
"""Time after a burst for which a fleet that knows the load keeps its replicas, in seconds."""

_MODEL_SLOTS = 256


@dataclass(frozen=True, slots=True)
class FleetResult:
    """The traces of all requests, and the replica-seconds of each modality."""

    traces: Sequence[ClientTrace]
    replica_seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A load of bursts, the times of the workers, and the policy of all pools. Times are in seconds."""

    manifest: Manifest
    costs: MeasuredCosts
    size: DeploymentSize
    bursts: Mapping[str, Sequence[Burst]]
    requests: Sequence[ScheduledRequest]
    policy: ScalingPolicy
    start_seconds: float
    total: float
    seed: int


def measure(
    hours: float,
    bursts: int,
    burst_minutes: float,
    replicas: int,
    start_seconds: float,
    target: float,
    cooldown: float,
    stabilization: float,
    slowdown: float,
    bundle: str,
    costs: Path,
    width: int,
    grain: int,
    seed: int,
) -> Report:
    """Simulate `hours` with a number of `bursts` of each modality for each fleet.

    A burst needs 1 to `replicas` replicas. Workers take `slowdown` times the measured times. Raises `SettingsError` for
    missing costs.
    """
    settings = dict(locals())
    manifest = open_bundle(bundle, ()).manifest
    measured = MeasuredCosts.read(costs)
    check(manifest, measured, DeploymentSize())
    policy = ScalingPolicy(replicas, 0, target, cooldown, stabilization)
    size = DeploymentSize(decoder_slots=width, grain=grain)
    load = (hours * 3600, bursts, burst_minutes * 60)
    scenario = scenario_of(manifest, slowed(measured, slowdown), size, policy, load, start_seconds, seed)
    results = {fleet: run_fleet(scenario, fleet) for fleet in FLEETS}
    return _report({**settings, "costs": str(costs.name)}, results)


def slowed(costs: MeasuredCosts, factor: float) -> MeasuredCosts:
    """Return costs whose decoders take `factor` times as long."""

    def ticks(tick: TickCosts) -> TickCosts:
        return TickCosts({size: [factor * each for each in samples] for size, samples in tick.samples.items()})

    finish = {modality: [factor * each for each in samples] for modality, samples in costs.finish.items()}
    return replace(costs, step={modality: ticks(each) for modality, each in costs.step.items()}, finish=finish)


def scenario_of(
    manifest: Manifest,
    costs: MeasuredCosts,
    size: DeploymentSize,
    policy: ScalingPolicy,
    load: tuple[float, int, float],
    start_seconds: float,
    seed: int,
) -> Scenario:
    """Return a scenario. Equal arguments give an equal scenario.

    `load` is the duration in seconds, the number of bursts of each modality, and the seconds of a burst.
    """
    total, number, seconds = load
    rng = random.Random(seed)
    modalities = manifest.independent
    bursts = {
        modality: random_bursts(modality, number, seconds, total, policy.max_replicas, rng) for modality in modalities
    }
    requests = []
    for modality, own in bursts.items():
        step = costs.step[modality].seconds(size.decoder_slots, 0.5)
        rate = _UTILISATION * size.decoder_slots / (step * manifest.decoder_of(modality).steps)
        requests += [request for burst in own for request in requests_of(burst, rate, _TOKENS, rng)]
    requests.sort(key=lambda request: request.at)
    return Scenario(manifest, costs, size, bursts, requests, policy, start_seconds, total, seed)


def run_fleet(scenario: Scenario, fleet: str) -> FleetResult:
    """Run the load with one of `FLEETS`. Equal arguments give an equal result."""
    return run_virtually(_run(scenario, fleet))


async def _run(scenario: Scenario, fleet: str) -> FleetResult:
    manifest, rng = scenario.manifest, random.Random(scenario.seed)
    settings = simulated_settings(MAX_SECONDS, wait_for_replicas=True)
    async with AsyncExitStack() as stack:
        model = SimulatedLanguageModel(scenario.costs, _MODEL_SLOTS, scenario.size.grain, rng)
        members: list[Member[LanguageModel]] = [Member(model, model.loads, "0")]
        models: Pool[LanguageModel] = Pool(LANGUAGE_MODEL, members, settings, random=rng)
        language_model = PooledLanguageModel(await stack.enter_async_context(models))
        decoders: dict[str, Decoder] = {}
        pools: dict[str, ElasticPool] = {}
        for modality in manifest.independent:
            steps = manifest.decoder_of(modality).steps
            pool: Pool[Decoder] = Pool(modality, [], settings, initial_estimate=0.1, random=rng)
            decoders[modality] = PooledDecoder(await stack.enter_async_context(pool), steps)
            slots, grain = scenario.size.decoder_slots, scenario.size.grain
            decoder = partial(SimulatedDecoder, scenario.costs, modality, steps, slots, grain, rng)
            pools[modality] = ElasticPool(pool, decoder, scenario.start_seconds)
        workers = Workers(NoEncoder(), language_model, decoders)
        orchestrator = await stack.enter_async_context(Orchestrator(workers, manifest, "", settings))
        tasks = [asyncio.create_task(_drive(scenario, fleet, modality, pool)) for modality, pool in pools.items()]
        traces = await send_all(orchestrator.for_caller(ANONYMOUS), scenario.requests)
        await asyncio.sleep(max(0.0, scenario.total - now()))
        seconds = {modality: pool.replica_seconds for modality, pool in pools.items()}
        if fleet == "fixed":
            seconds = dict.fromkeys(pools, scenario.total * scenario.policy.max_replicas)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return FleetResult(traces, seconds)


async def _drive(scenario: Scenario, fleet: str, modality: str, pool: ElasticPool) -> None:
    bursts = scenario.bursts[modality]
    if fleet == "fixed":
        # Replicas without requests do nothing, so this fleet is simulated only while there are some.
        bursts = [replace(burst, replicas=scenario.policy.max_replicas) for burst in bursts]
    if fleet == "scaled":
        await pool.follow(Autoscaler(scenario.policy))
    else:
        await pool.run(oracle_of(bursts, scenario.start_seconds, _LINGER))


def _report(settings: dict[str, Any], results: Mapping[str, FleetResult]) -> Report:
    fixed = Baseline("fixed", sum(results["fixed"].replica_seconds.values()) / 3600)
    figures = [Figure("requests", len(results["scaled"].traces), "")]
    for fleet, result in results.items():
        share = 100 * sum(trace.succeeded for trace in result.traces) / max(1, len(result.traces))
        figures.append(Figure(f"{fleet}: requests that succeeded", share, "%", bar=at_least(100)))
    for fleet, result in results.items():
        hours = sum(result.replica_seconds.values()) / 3600
        bar = at_most(0.5) if fleet == "scaled" else None
        figures.append(Figure(f"{fleet}: replica hours", hours, "h", None if fleet == "fixed" else fixed, bar))
    for modality in results["scaled"].replica_seconds:
        for fleet, result in results.items():
            ranks = percentiles(latencies(result.traces).get(modality, []), 50, 95)
            figures += [Figure(f"{fleet}: {modality}, {rank}", value, "s") for rank, value in ranks.items()]
    notes = [
        "Orchestrator, pipeline and pools are the real ones, on a virtual clock. KEDA and its HorizontalPodAutoscaler "
        "are a model of their documented decisions. A replica counts from its start until its last call has ended."
    ]
    return Report(
        "scaling", settings, figures, notes, {fleet: dict(each.replica_seconds) for fleet, each in results.items()}
    )
