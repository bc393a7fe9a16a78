"""The benchmark `orchestrator`: the overhead of orchestration over gRPC, with workers that take no time.

The module is not named orchestrator.py, because that would hide the package `orchestrator` from scripts in this folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import chain, count, islice
from time import perf_counter

from motet.client import Client
from motet.core.caller import ANONYMOUS
from motet.core.closing import closing
from motet.core.events import Done, State
from motet.core.service import Motet
from motet.transport.server import freeze_garbage_collector
from orchestrator.orchestrator import Orchestrator
from orchestrator.settings import OrchestratorSettings
from services.benchmarks.load.client_trace import text_request
from services.benchmarks.load.scripted_toys import ToyTimings, scripted_prompt
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.statistics import alternating, median, percentile, seconds_of
from services.benchmarks.tracing.bare_stubs import DecodeSchedule, bare_stubs
from services.benchmarks.tracing.deployment import (
    RecordedDeployment,
    RecordedDeploymentConfig,
    collect_spans,
    recorded_deployment,
)
from services.benchmarks.tracing.request_stages import spans_by_request, stages_of
from services.benchmarks.tracing.spans import ENCODER, LANGUAGE_MODEL
from services.orchestrator.pools import pooled_workers

_BLOCK = 20
"""Number of requests of a candidate in sequence before the other candidate's. The first block opens connections."""

SendPlan = Callable[[int], Awaitable[object]]
"""A function that runs the plan of a request with a given seed."""


def measure(requests: int, rounds: int, plans: int, concurrency: int) -> Report:
    """Measure the overhead of `requests` sequential requests, then rounds of `plans` plans, `concurrency` at a time."""
    return asyncio.run(_measure(requests, rounds, plans, concurrency))


async def _measure(requests: int, rounds: int, plans: int, concurrency: int) -> Report:
    config = RecordedDeploymentConfig(timings=ToyTimings(steps=1), slots=64)
    modalities = config.manifest.independent
    text = scripted_prompt(modalities, before=1, between=0, after=0)
    calls = 1 + len(modalities)
    freeze_garbage_collector()  # Servers do it too. This process has loaded far more objects than a server.
    async with recorded_deployment(config) as deployment, Client(deployment.orchestrator) as client:
        overheads = await _overheads(client, deployment, text, requests, calls)
        rates = await _rates(client, deployment, text, rounds, plans, concurrency)
    return Report(
        "orchestrator",
        {"requests": requests, "rounds": rounds, "plans": plans, "concurrency": concurrency, "prompt": text},
        _figures(overheads, rates),
        [
            f"A plan has {calls} worker calls: the language model and {len(modalities)} decoders, each in its own "
            "process. The overhead is the client's total time minus the longest chain of the workers' times, divided "
            f"by the number of calls. Requests are sequential, in blocks of {_BLOCK} that alternate with the stubs.",
            "The bare stubs make the same worker calls from the client's process and read every message. They do not "
            "validate, order, record or report. The service adds one network hop. As in every server of Motet, objects "
            "loaded before the run are excluded from garbage collection.",
        ],
        {
            "overhead_ms": {name: [round(one * 1e3, 4) for one in each] for name, each in overheads.items()},
            "plans_per_second": rates,
        },
    )


def _figures(overheads: Mapping[str, list[float]], rates: Mapping[str, list[float]]) -> list[Figure]:
    def overhead(q: int, limit: float) -> Figure:
        motet, stubs = (percentile(overheads[name], q) * 1e3 for name in ("motet", "bare_stubs"))
        return Figure(f"overhead per worker call, p{q}", motet, "ms", Baseline("bare stubs", stubs), at_most(limit))

    stubs, local, served = (median(rates[name]) for name in ("bare_stubs", "local", "served"))
    baseline = Baseline("bare stubs", stubs)
    return [
        overhead(50, 1.6),
        overhead(99, 3.0),  # p99 varies more between runs than p50
        Figure("plans per second, orchestrator in the client's process", local, "1/s", baseline, at_least(0.7)),
        Figure("plans per second, orchestrator as a service", served, "1/s", baseline),
    ]


async def _overheads(
    motet: Motet, deployment: RecordedDeployment, text: str, requests: int, calls: int
) -> dict[str, list[float]]:
    """Return the overhead per worker call of each request, in seconds, through Motet and through bare stubs."""
    starts = range(_BLOCK, _BLOCK + requests, _BLOCK)
    blocks = [range(_BLOCK), *(range(start, min(start + _BLOCK, _BLOCK + requests)) for start in starts)]

    async def measure_block(send: SendPlan, remaining: Iterator[range]) -> list[float]:
        return await overheads_of(send, deployment, next(remaining), calls)

    async with bare_stubs(deployment) as stubs:
        senders: dict[str, SendPlan] = {
            "motet": partial(generate, motet, text),
            "bare_stubs": partial(stubs.generate, text, schedule=DecodeSchedule.EAGER),
        }
        candidates = {name: partial(measure_block, send, iter(blocks)) for name, send in senders.items()}
        samples = await alternating(len(blocks) - 1, candidates, warmup=1)
    return {name: list(chain.from_iterable(each)) for name, each in samples.items()}


async def overheads_of(send: SendPlan, deployment: RecordedDeployment, seeds: Sequence[int], calls: int) -> list[float]:
    """Return the overhead per worker call of sequential plans with these seeds, in seconds."""
    totals = {seed: await seconds_of(partial(send, seed)) for seed in seeds}
    spans = spans_by_request(await collect_spans(deployment, calls * len(seeds), silence=0), seeds)
    return [(totals[seed] - stages_of(spans[seed]).bound) / calls for seed in seeds]


async def generate(motet: Motet, text: str, seed: int) -> None:
    """Run a plan and read every event."""
    async with closing(motet.generate(text_request(text, seed))) as events:
        last = [event.payload async for event in events][-1]
    assert isinstance(last, Done), last
    assert last.generation.state is State.SUCCEEDED, last


async def _rates(
    client: Client, deployment: RecordedDeployment, text: str, rounds: int, plans: int, concurrency: int
) -> dict[str, list[float]]:
    """Return the plans per second of each candidate, by round."""
    # Every request has a new seed: a request with a known seed would be a cache hit.
    seeds = count(10**6)

    async def rate(send: SendPlan) -> float:
        return await rate_of(send, islice(seeds, plans), plans, concurrency)

    async with bare_stubs(deployment) as stubs, _local_orchestrator(deployment) as motet:
        senders: dict[str, SendPlan] = {
            "bare_stubs": partial(stubs.generate, text, schedule=DecodeSchedule.EAGER),
            "local": partial(generate, motet, text),
            "served": partial(generate, client, text),
        }
        return await alternating(rounds, {name: partial(rate, send) for name, send in senders.items()}, warmup=1)


async def rate_of(send: SendPlan, seeds: Iterator[int], plans: int, concurrency: int) -> float:
    """Run `plans` plans with these seeds, `concurrency` at a time. Return the plans per second."""

    async def send_next() -> None:
        for seed in seeds:
            await send(seed)

    start = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(send_next())
    return plans / (perf_counter() - start)


@asynccontextmanager
async def _local_orchestrator(deployment: RecordedDeployment) -> AsyncIterator[Motet]:
    """Yield an orchestrator in this process that uses the deployment's workers."""
    manifest = deployment.config.manifest
    settings = OrchestratorSettings(
        encoder=deployment.workers[ENCODER],
        language_model=deployment.workers[LANGUAGE_MODEL],
        decoders={modality: deployment.workers[modality] for modality in manifest.signals},
    )
    async with AsyncExitStack() as stack:
        workers = await pooled_workers(settings, manifest, stack)
        orchestrator = await stack.enter_async_context(Orchestrator(workers, manifest, "", settings))
        yield orchestrator.for_caller(ANONYMOUS)
