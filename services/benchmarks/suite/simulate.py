"""The real orchestrator, pipeline and pools on a made-up clock, for sizes and hours that no laptop holds."""

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
from motet.core.errors import SettingsError
from motet.core.workers import Decoder, LanguageModel, Workers
from orchestrator.orchestrator import Orchestrator
from orchestrator.pool.pool import Member, Pool
from orchestrator.pool.workers import PooledDecoder, PooledLanguageModel
from orchestrator.settings import OrchestratorSettings
from services.benchmarks.load.client_trace import Heard, latencies
from services.benchmarks.load.open_loop import Due, play, poisson
from services.benchmarks.load.scripted_toys import prompt_of
from services.benchmarks.reports.report import Figure, Report
from services.benchmarks.reports.statistics import percentile, percentiles
from services.benchmarks.simulation.measured_costs import Costs
from services.benchmarks.simulation.virtual_loop import run_virtually
from services.benchmarks.simulation.workers import NoEncoder, SimulatedDecoder, SimulatedLanguageModel, SimulatedWorker
from services.benchmarks.tracing.spans import LANGUAGE_MODEL
from services.factory import open_bundle

COSTS = Path(__file__).parents[3] / "docs" / "benchmarks" / "calibration.json"
"""Where measured costs are looked for, unless told."""

_NEVER = 1e9
"""Seconds: of what is not to be the bound."""


@dataclass(frozen=True, slots=True)
class Size:
    """How many workers of each kind there are, and how many calls each works on at a time.

    `grain` is how many tokens or steps are simulated as one: more is faster and coarser.
    """

    replicas: Mapping[str, int] = field(default_factory=dict)
    width: int = 4
    models_width: int = 32
    grain: int = 5

    def of(self, worker: str) -> int:
        """Replicas of one kind."""
        return self.replicas.get(worker, 1)


def measure(
    replicas: Mapping[str, int] | None = None,
    rate: float = 2.0,
    minutes: float = 10.0,
    bundle: str = "nano",
    costs: Path = COSTS,
    media: float = 0.5,
    tokens: int = 60,
    tenants: int = 4,
    greedy: float = 0.5,
    width: int = 4,
    queue_seconds: float = 60.0,
    grain: int = 5,
    seed: int = 0,
) -> Report:
    """Simulate `rate` requests a second for some minutes.

    Each answer has `tokens` tokens of text and, with probability `media`, a piece of each modality that the bundle
    makes. One tenant of several sends the share `greedy` of all. Raises `SettingsError` for replicas of what there is
    not, and where costs are missing.
    """
    manifest = open_bundle(bundle, ()).manifest
    measured = Costs.read(costs)
    size = Size(replicas or {}, width=width, grain=grain)
    check(manifest, measured, size)
    due = load_of(list(manifest.signals), rate, minutes * 60, media, tokens, tenants, greedy, random.Random(seed))
    begun = perf_counter()
    played = simulate(manifest, measured, size, due, queue_seconds, seed)
    took = perf_counter() - begun
    settings = {
        "replicas": {worker: size.of(worker) for worker in (LANGUAGE_MODEL, *manifest.signals)},
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
    return _report(settings, due, played, took)


def check(manifest: Manifest, costs: Costs, size: Size) -> None:
    """Raises `SettingsError` where the costs do not cover a modality, or replicas are of no worker there is."""
    if missing := manifest.signals.keys() - costs.step.keys():
        raise SettingsError(f"no costs were measured for {', '.join(sorted(missing))}: calibrate with this bundle")
    if unknown := size.replicas.keys() - manifest.signals.keys() - {LANGUAGE_MODEL}:
        known = ", ".join((LANGUAGE_MODEL, *manifest.signals))
        raise SettingsError(f"there are no replicas of {', '.join(sorted(unknown))}, only of {known}")


def load_of(
    modalities: Sequence[str],
    rate: float,
    seconds: float,
    media: float,
    tokens: int,
    tenants: int,
    greedy: float,
    rng: random.Random,
) -> list[Due]:
    """Requests of several tenants, the first of which sends a share of its own."""
    names = [f"tenant-{number}" for number in range(tenants)]
    due = []
    for one in poisson(rate, seconds, [""], rng):
        wanted = [modality for modality in modalities if rng.random() < media]
        rng.shuffle(wanted)
        piece = max(1, tokens // (len(wanted) + 1))
        text = prompt_of(wanted, piece, piece, piece) if wanted else str(tokens)
        tenant = names[0] if tenants == 1 or rng.random() < greedy else rng.choice(names[1:])
        due.append(replace(one, text=text, tenant=tenant))
    return due


@dataclass(frozen=True, slots=True)
class Played:
    """What came of each request, how busy each worker was, and how long it all took, in simulated seconds."""

    heard: list[Heard]
    busy: Mapping[str, list[float]]
    seconds: float


def simulate(
    manifest: Manifest, costs: Costs, size: Size, due: Sequence[Due], queue_seconds: float = 60.0, seed: int = 0
) -> Played:
    """Play a load. The same arguments give the same result."""

    async def program() -> Played:
        async with _workers(manifest, costs, size, queue_seconds, random.Random(seed)) as (motet, everybody):
            heard = await play(motet, due)
            ended = max((one.due + (one.total or 0.0) for one in heard), default=0.0)
            busy = {kind: [worker.batch.busy for worker in workers] for kind, workers in everybody.items()}
            return Played(heard, busy, ended)

    return run_virtually(program())


@asynccontextmanager
async def _workers(
    manifest: Manifest, costs: Costs, size: Size, queue_seconds: float, rng: random.Random
) -> AsyncIterator[tuple[Orchestrator, Mapping[str, Sequence[SimulatedWorker]]]]:
    # Whatever a store keeps, it keeps by the world's clock: the bounds on their number and bytes do here.
    settings = OrchestratorSettings(
        queue_seconds=queue_seconds, max_generations=10**6, max_results=100, max_duration=_NEVER, step_timeout=_NEVER
    )

    def drawing() -> random.Random:
        return random.Random(rng.getrandbits(64))

    models = [
        SimulatedLanguageModel(costs, size.models_width, size.grain, drawing()) for _ in range(size.of(LANGUAGE_MODEL))
    ]
    decoders = {
        modality: [
            SimulatedDecoder(costs, modality, manifest.decoder_of(modality).steps, size.width, size.grain, drawing())
            for _ in range(size.of(modality))
        ]
        for modality in manifest.signals
    }
    async with AsyncExitStack() as stack:
        writing: Pool[LanguageModel] = Pool(
            LANGUAGE_MODEL, [Member(model, model.loads) for model in models], settings, random=drawing()
        )
        language_model = PooledLanguageModel(await stack.enter_async_context(writing))
        pooled: dict[str, Decoder] = {}
        for modality, replicas in decoders.items():
            making: Pool[Decoder] = Pool(
                modality, [Member(one, one.loads) for one in replicas], settings, guess=0.1, random=drawing()
            )
            steps = manifest.decoder_of(modality).steps
            pooled[modality] = PooledDecoder(await stack.enter_async_context(making), steps)
        workers = Workers(NoEncoder(), language_model, pooled)
        motet = await stack.enter_async_context(Orchestrator(workers, manifest, "", settings))
        yield motet, {LANGUAGE_MODEL: models, **decoders}


def _report(settings: dict[str, Any], due: Sequence[Due], played: Played, took: float) -> Report:
    heard = played.heard
    whole = [one for one in heard if one.whole]
    figures = [
        Figure("simulated seconds per second", played.seconds / took, ""),
        Figure("requests", len(heard), ""),
        Figure("answers that came whole", 100 * len(whole) / max(1, len(heard)), "%"),
    ]
    for name, seconds in latencies(whole).items():
        figures += [Figure(f"{name}, {rank}", value, "s") for rank, value in percentiles(seconds, 50, 95, 99).items()]
    for kind, busy in played.busy.items():
        figures.append(Figure(f"utilisation of {kind}", 100 * sum(busy) / len(busy) / max(played.seconds, 1e-9), "%"))
    return Report(
        "simulate",
        settings,
        [*figures, *_fairness(due, heard)],
        [
            "Orchestrator, pipeline and pools are the real ones; workers only take the time that was measured of real "
            "ones, on a virtual clock. The hardware named here ran the simulation, it was not simulated.",
        ],
        {
            "refused": dict(Counter(one.refused for one in heard if one.refused)),
            "busy": {kind: list(busy) for kind, busy in played.busy.items()},
            "digest": digest_of(heard),
        },
    )


def digest_of(heard: Sequence[Heard]) -> str:
    """Names an outcome: equal simulations have equal ones."""
    lines = [f"{one.state} {one.refused} {one.first_text} {one.total}" for one in heard]
    return sha256("\n".join(lines).encode()).hexdigest()


def _fairness(due: Sequence[Due], heard: Sequence[Heard]) -> list[Figure]:
    """How the tenant that sends most fares against the others."""
    by_tenant: defaultdict[str, list[Heard]] = defaultdict(list)
    for one, got in zip(due, heard, strict=True):
        by_tenant[one.tenant].append(got)
    if len(by_tenant) < 2:
        return []
    served = {tenant: sum(one.whole for one in got) / len(got) for tenant, got in by_tenant.items()}
    greedy = max(by_tenant, key=lambda tenant: len(by_tenant[tenant]))
    others = [one.total for tenant in by_tenant if tenant != greedy for one in by_tenant[tenant] if one.total]
    own = [one.total for one in by_tenant[greedy] if one.total]
    figures = [
        Figure("answers that came whole, tenant that sends most", 100 * served[greedy], "%"),
        Figure(
            "answers that came whole, the worst served other tenant",
            100 * min(share for tenant, share in served.items() if tenant != greedy),
            "%",
        ),
    ]
    if own and others:
        figures += [
            Figure("total, p95, tenant that sends most", percentile(own, 95), "s"),
            Figure("total, p95, other tenants", percentile(others, 95), "s"),
        ]
    return figures
