"""What orchestration costs: over real gRPC, with workers that take no time.

It is the module of `motet bench orchestrator`; one called orchestrator.py would hide the package of that name from the
scripts beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import count, islice
from time import perf_counter

from motet.client import Client
from motet.core.closing import closing
from motet.core.events import Done, State
from motet.core.service import Motet
from motet.transport.server import freeze_garbage_collector
from orchestrator.orchestrator import Orchestrator
from orchestrator.settings import OrchestratorSettings
from services.benchmarks.load.client_trace import request_of
from services.benchmarks.load.scripted_toys import Pace, prompt_of
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.statistics import median, percentile, seconds_until
from services.benchmarks.tracing.bare_stubs import BareRequest, bare_stubs
from services.benchmarks.tracing.deployment import Lineup, RecordedDeployment, playing, settled
from services.benchmarks.tracing.request_stages import by_request, stages_of
from services.benchmarks.tracing.spans import ENCODER, LANGUAGE_MODEL
from services.orchestrator.pools import pooled_workers

_WARMING = 20
"""Requests at first that only open connections."""

_BLOCK = 20
"""Requests one right after another, before it is the other way's turn."""

Way = Callable[[int], Awaitable[object]]
"""Has a plan carried out, whose seed it is given."""


def measure(requests: int, rounds: int, plans: int, concurrency: int) -> Report:
    """The overhead of `requests` requests one after another; then rounds of so many plans, so many at a time."""
    return asyncio.run(_measure(requests, rounds, plans, concurrency))


async def _measure(requests: int, rounds: int, plans: int, concurrency: int) -> Report:
    lineup = Lineup(pace=Pace(steps=1), width=64)
    modalities = list(lineup.manifest.signals)
    text = prompt_of(modalities, before=1, between=0, after=0)
    nodes = 1 + len(modalities)
    freeze_garbage_collector()  # as a process that serves does; here, there is much more to look through
    async with playing(lineup) as band, Client(band.orchestrator) as client:
        overheads, bare_overheads = await _overheads(client, band, text, requests, nodes)
        rates = await _rates(client, band, text, rounds, plans, concurrency)
    bare, inside, served = (median(rates[name]) for name in ("bare", "inside", "served"))
    stubs = Baseline("bare grpc.aio stubs", bare)
    return Report(
        "orchestrator",
        {"requests": requests, "rounds": rounds, "plans": plans, "concurrency": concurrency, "prompt": text},
        [
            Figure("overhead per worker call, p50", percentile(overheads, 50) * 1e3, "ms", bar=at_most(2)),
            Figure("overhead per worker call, p99", percentile(overheads, 99) * 1e3, "ms", bar=at_most(10)),
            Figure("the same of bare stubs, p50", percentile(bare_overheads, 50) * 1e3, "ms"),
            Figure("plans per second, orchestrator beside its caller", inside, "1/s", stubs, at_least(0.7)),
            Figure("plans per second, orchestrator as a service", served, "1/s", stubs),
        ],
        [
            f"A plan here is {nodes} worker calls: the language model and {len(modalities)} decoders, each its own "
            "process. The overhead is the caller's whole time through the orchestrator service, less the longest chain "
            f"of the workers' own time, over the number of calls. Requests come one right after another, {_BLOCK} at "
            "a stretch, in turns with the stubs.",
            "The bare stubs make the same worker calls from the caller's process, reading every message; nothing "
            "validates, orders, records or tells. Through the service there is one hop more. As in every process of "
            "Motet that serves, what was loaded before is spared the search for garbage.",
        ],
        {"overhead_ms": [round(one * 1e3, 4) for one in overheads], "plans_per_second": rates},
    )


async def _overheads(
    motet: Motet, band: RecordedDeployment, text: str, requests: int, nodes: int
) -> tuple[list[float], list[float]]:
    """Seconds per worker call that are nobody's work, of each request: through Motet, and by bare stubs in turns."""
    found: tuple[list[float], list[float]] = [], []
    async with bare_stubs(band) as bare:
        ways: tuple[Way, Way] = partial(_answered, motet, text), partial(bare.answer, text, order=BareRequest.EAGER)
        for begun in range(0, _WARMING + requests, _BLOCK):
            block = range(begun, min(begun + _BLOCK, _WARMING + requests))
            for overheads, ask in zip(found, ways, strict=True):
                totals = {seed: await seconds_until(ask(seed)) for seed in block}
                spans = by_request(await settled(band, nodes * len(block), breath=0), block)
                overheads += [(totals[seed] - stages_of(spans[seed]).bound) / nodes for seed in block]
    return found[0][_WARMING:], found[1][_WARMING:]


async def _answered(motet: Motet, text: str, seed: int) -> None:
    """Have a plan carried out, reading every event."""
    async with closing(motet.generate(request_of(text, seed))) as events:
        last = [event.payload async for event in events][-1]
    assert isinstance(last, Done), last
    assert last.generation.state is State.SUCCEEDED, last


async def _rates(
    client: Client, band: RecordedDeployment, text: str, rounds: int, plans: int, concurrency: int
) -> dict[str, list[float]]:
    """Plans per second of each way to make the calls, in turns."""
    seeds = count(10**6)  # none twice: an equal request would be answered with what was made before
    async with bare_stubs(band) as bare, _beside(band) as motet:
        ways: dict[str, Way] = {
            "bare": partial(bare.answer, text, order=BareRequest.EAGER),
            "inside": partial(_answered, motet, text),
            "served": partial(_answered, client, text),
        }
        found: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(-1, rounds):
            for name in list(ways)[:: -1 if number % 2 else 1]:
                rate = await _rate(ways[name], islice(seeds, plans), plans, concurrency)
                if number >= 0:
                    found[name].append(rate)
    return found


async def _rate(ask: Way, seeds: Iterator[int], plans: int, concurrency: int) -> float:
    async def worker() -> None:
        for seed in seeds:
            await ask(seed)

    begun = perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
    return plans / (perf_counter() - begun)


@asynccontextmanager
async def _beside(band: RecordedDeployment) -> AsyncIterator[Motet]:
    """An orchestrator in this process, its workers being the band's."""
    manifest = band.lineup.manifest
    settings = OrchestratorSettings(
        encoder=band.workers[ENCODER],
        language_model=band.workers[LANGUAGE_MODEL],
        decoders={modality: band.workers[modality] for modality in manifest.signals},
    )
    async with AsyncExitStack() as stack:
        workers = await pooled_workers(settings, manifest, stack)
        yield await stack.enter_async_context(Orchestrator(workers, manifest, "", settings))
