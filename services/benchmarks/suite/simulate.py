"""The benchmark `simulate`: the real orchestrator, pipeline and pools on a virtual clock, at any size."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Any

from motet.core.bundle import Manifest
from motet.core.caller import ANONYMOUS
from motet.core.errors import SettingsError
from motet.core.service import Motet
from motet.core.workers import Decoder, LanguageModel, Workers
from orchestrator.orchestrator import Orchestrator
from orchestrator.pool.member import Member
from orchestrator.pool.pool import Pool
from orchestrator.pool.workers import PooledDecoder, PooledLanguageModel
from services.benchmarks.load.client_trace import ClientTrace, latencies
from services.benchmarks.load.open_loop import ScheduledRequest, poisson_requests, send_all
from services.benchmarks.load.scripted_toys import scripted_prompt
from services.benchmarks.reports.report import Baseline, Figure, Report
from services.benchmarks.reports.statistics import percentile, percentiles
from services.benchmarks.simulation.bounds import request_bounds
from services.benchmarks.simulation.measured_costs import MeasuredCosts
from services.benchmarks.simulation.orchestrator_settings import simulated_settings
from services.benchmarks.simulation.virtual_loop import run_virtually
from services.benchmarks.simulation.workers import NoEncoder, SimulatedDecoder, SimulatedLanguageModel, SimulatedWorker
from services.benchmarks.tracing.spans import LANGUAGE_MODEL
from services.factory import open_bundle


@dataclass(frozen=True, slots=True)
class DeploymentSize:
    """The number of replicas by kind of worker, and the slots of a decoder and of a language model.

    `grain` is the number of tokens or steps in one simulated tick: a larger one is faster and less exact.
    """

    replicas: Mapping[str, int] = field(default_factory=dict)
    decoder_slots: int = 4
    model_slots: int = 32
    grain: int = 5

    def replicas_of(self, worker: str) -> int:
        """Return the number of replicas of a kind; 1 by default."""
        return self.replicas.get(worker, 1)

    def slots_of(self, worker: str) -> int:
        """Return the number of slots of a replica of a kind."""
        return self.model_slots if worker == LANGUAGE_MODEL else self.decoder_slots


def measure(
    replicas: Mapping[str, int],
    rate: float,
    minutes: float,
    bundle: str,
    costs: Path,
    media: float,
    tokens: int,
    tenants: int,
    greedy: float,
    width: int,
    queue_seconds: float,
    grain: int,
    seed: int,
) -> Report:
    """Simulate `rate` requests a second for `minutes`.

    Each response has `tokens` tokens of text and, with probability `media`, one media part of each modality of the
    bundle that takes no other media. One of the `tenants` sends a share `greedy` of all requests. A decoder has `width`
    slots. Raises `SettingsError` for replicas of an unknown kind and for missing costs.
    """
    manifest = open_bundle(bundle, ()).manifest
    measured = MeasuredCosts.read(costs)
    size = DeploymentSize(replicas, decoder_slots=width, grain=grain)
    check(manifest, measured, size)
    rng = random.Random(seed)
    requests = multi_tenant_load(manifest.independent, rate, minutes * 60, media, tokens, tenants, greedy, rng)
    start = perf_counter()
    result = simulate(manifest, measured, size, requests, queue_seconds, seed)
    seconds = perf_counter() - start
    settings = {
        "replicas": {worker: size.replicas_of(worker) for worker in (LANGUAGE_MODEL, *manifest.independent)},
        "rate": rate,
        "minutes": minutes,
        "bundle": bundle,
        "media": media,
        "tokens": tokens,
        "tenants": tenants,
        "greedy": greedy,
        "width": width,
        "queue_seconds": queue_seconds,
        "grain": grain,
        "seed": seed,
    }
    bounds = request_bounds(manifest, measured, [each.text for each in requests], size.replicas_of, size.slots_of)
    return _report(settings, requests, result, seconds, bounds)


def check(manifest: Manifest, costs: MeasuredCosts, size: DeploymentSize) -> None:
    """Raise `SettingsError` if the costs lack a modality, or if there are replicas of an unknown kind."""
    if missing := set(manifest.independent) - costs.step.keys():
        raise SettingsError(f"the costs lack {', '.join(sorted(missing))}: calibrate with this bundle")
    if unknown := size.replicas.keys() - set(manifest.independent) - {LANGUAGE_MODEL}:
        known = ", ".join((LANGUAGE_MODEL, *manifest.independent))
        raise SettingsError(f"no replicas of {', '.join(sorted(unknown))}: use {known}")


def multi_tenant_load(
    modalities: Sequence[str],
    rate: float,
    seconds: float,
    media: float,
    tokens: int,
    tenants: int,
    greedy: float,
    rng: random.Random,
) -> list[ScheduledRequest]:
    """Return the requests of several tenants. The first tenant sends a share `greedy` of them, see `measure`."""
    names = [f"tenant-{number}" for number in range(tenants)]
    requests = []
    for request in poisson_requests(rate, seconds, [""], rng):
        chosen = [modality for modality in modalities if rng.random() < media]
        rng.shuffle(chosen)
        length = max(1, tokens // (len(chosen) + 1))
        text = scripted_prompt(chosen, length, length, length) if chosen else str(tokens)
        tenant = names[0] if tenants == 1 or rng.random() < greedy else rng.choice(names[1:])
        requests.append(replace(request, text=text, tenant=tenant))
    return requests


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """The trace of each request, the busy seconds of each worker by kind, and the duration, all in virtual seconds."""

    traces: list[ClientTrace]
    busy: Mapping[str, list[float]]
    seconds: float


def simulate(
    manifest: Manifest,
    costs: MeasuredCosts,
    size: DeploymentSize,
    requests: Sequence[ScheduledRequest],
    queue_seconds: float = 60.0,
    seed: int = 0,
) -> SimulationResult:
    """Simulate a load. Equal arguments give an equal result."""

    async def program() -> SimulationResult:
        rng = random.Random(seed)
        workers = simulated_workers(manifest, costs, size, rng)
        async with simulated_orchestrator(manifest, workers, queue_seconds, rng) as motet:
            traces = await send_all(motet, requests)
            end = max((trace.due + (trace.total or 0.0) for trace in traces), default=0.0)
            busy = {kind: [replica.batch.busy for replica in replicas] for kind, replicas in workers.items()}
            return SimulationResult(traces, busy, end)

    return run_virtually(program())


def _new_rng(rng: random.Random) -> random.Random:
    return random.Random(rng.getrandbits(64))


def simulated_workers(
    manifest: Manifest, costs: MeasuredCosts, size: DeploymentSize, rng: random.Random
) -> Mapping[str, Sequence[SimulatedWorker]]:
    """Return the replicas of the language model and of each modality's decoder, by kind."""
    models = [
        SimulatedLanguageModel(costs, size.model_slots, size.grain, _new_rng(rng))
        for _ in range(size.replicas_of(LANGUAGE_MODEL))
    ]
    decoders: dict[str, list[SimulatedDecoder]] = {}
    for modality in manifest.independent:
        steps = manifest.decoder_of(modality).steps
        decoders[modality] = [
            SimulatedDecoder(costs, modality, steps, size.decoder_slots, size.grain, _new_rng(rng))
            for _ in range(size.replicas_of(modality))
        ]
    return {LANGUAGE_MODEL: models, **decoders}


@asynccontextmanager
async def simulated_orchestrator(
    manifest: Manifest, workers: Mapping[str, Sequence[SimulatedWorker]], queue_seconds: float, rng: random.Random
) -> AsyncIterator[Motet]:
    """Yield an orchestrator of simulated workers, which it may share with others."""
    settings = simulated_settings(queue_seconds)
    async with AsyncExitStack() as stack:
        models = _members_of(workers[LANGUAGE_MODEL])
        model_pool: Pool[LanguageModel] = Pool(LANGUAGE_MODEL, models, settings, random=_new_rng(rng))
        language_model = PooledLanguageModel(await stack.enter_async_context(model_pool))
        pooled: dict[str, Decoder] = {}
        for modality in manifest.independent:
            decoder_pool: Pool[Decoder] = Pool(
                modality,
                _members_of(workers[modality]),
                settings,
                initial_estimate=0.1,
                random=_new_rng(rng),
            )
            steps = manifest.decoder_of(modality).steps
            pooled[modality] = PooledDecoder(await stack.enter_async_context(decoder_pool), steps)
        pools = Workers(NoEncoder(), language_model, pooled)
        orchestrator = await stack.enter_async_context(Orchestrator(pools, manifest, "", settings))
        yield orchestrator.for_caller(ANONYMOUS)


def _members_of(workers: Sequence[SimulatedWorker]) -> list[Member[Any]]:
    """Return the members of a pool. Their addresses are their numbers."""
    return [Member(worker, worker.loads, str(number)) for number, worker in enumerate(workers)]


def _report(
    settings: dict[str, Any],
    requests: Sequence[ScheduledRequest],
    result: SimulationResult,
    seconds: float,
    bounds: Mapping[str, float],
) -> Report:
    traces = result.traces
    succeeded = [trace for trace in traces if trace.succeeded]
    figures = [
        Figure("simulated seconds per second", result.seconds / seconds, ""),
        Figure("requests", len(traces), ""),
        Figure("requests that succeeded", 100 * len(succeeded) / max(1, len(traces)), "%"),
    ]
    for name, samples in latencies(succeeded).items():
        figures += [Figure(f"{name}, {rank}", value, "s") for rank, value in percentiles(samples, 50, 95, 99).items()]
    for kind, busy in result.busy.items():
        share = sum(busy) / len(busy) / max(result.seconds, 1e-9)
        figures.append(Figure(f"utilisation of {kind}", 100 * share, "%"))
    served = len(succeeded) / max(result.seconds, 1e-9)
    for kind, bound in bounds.items():
        figures.append(Figure("requests per second", served, "", Baseline(f"bound of {kind}", bound)))
    return Report(
        "simulate",
        settings,
        [*figures, *_fairness(requests, traces)],
        [
            "Orchestrator, pipeline and pools are the real ones. Workers take the measured times of real workers, on a "
            "virtual clock. The simulation ran on the hardware named here. That hardware is not simulated.",
            "The bound of a worker is the load at which all of its replicas always run their best batch.",
        ],
        {
            "errors": dict(Counter(trace.error_reason for trace in traces if trace.error_reason)),
            "busy": {kind: list(busy) for kind, busy in result.busy.items()},
            "digest": digest_of(traces),
        },
    )


def digest_of(traces: Sequence[ClientTrace]) -> str:
    """Return a digest of all traces. Equal simulations have equal digests."""
    lines = [f"{trace.state} {trace.error_reason} {trace.first_text} {trace.total}" for trace in traces]
    return sha256("\n".join(lines).encode()).hexdigest()


def _fairness(requests: Sequence[ScheduledRequest], traces: Sequence[ClientTrace]) -> list[Figure]:
    """Compare the tenant with the most requests with the other tenants."""
    by_tenant: defaultdict[str, list[ClientTrace]] = defaultdict(list)
    for request, trace in zip(requests, traces, strict=True):
        by_tenant[request.tenant].append(trace)
    if len(by_tenant) < 2:
        return []
    succeeded = {tenant: sum(trace.succeeded for trace in own) / len(own) for tenant, own in by_tenant.items()}
    greedy = max(by_tenant, key=lambda tenant: len(by_tenant[tenant]))
    totals = {tenant: [trace.total for trace in own if trace.total] for tenant, own in by_tenant.items()}
    others = [total for tenant, own in totals.items() if tenant != greedy for total in own]
    figures = [
        Figure("requests that succeeded, tenant with the most requests", 100 * succeeded[greedy], "%"),
        Figure(
            "requests that succeeded, worst of the other tenants",
            100 * min(share for tenant, share in succeeded.items() if tenant != greedy),
            "%",
        ),
    ]
    if totals[greedy] and others:
        figures += [
            Figure("total, p95, tenant with the most requests", percentile(totals[greedy], 95), "s"),
            Figure("total, p95, other tenants", percentile(others, 95), "s"),
        ]
    return figures
