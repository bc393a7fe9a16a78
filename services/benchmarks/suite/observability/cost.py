"""The processor time of answers with observability and without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import count, islice
from time import process_time

from motet.core.service import Motet
from services.benchmarks.load.scripted_toys import scripted_prompt
from services.benchmarks.reports.statistics import alternating
from services.benchmarks.suite.orchestrator_overhead import generate
from services.embedded import embedded
from services.factory import Factory, open_bundle

PLANS = 40
"""Number of plans of toys in a round. A plan takes milliseconds."""

Candidates = Mapping[str, Callable[[], AbstractAsyncContextManager[None]]]
"""The context of the answers of each candidate, by its name."""

Samples = Mapping[str, Sequence[float]]
"""The seconds of each round, by candidate."""


async def cost_of_pictures(bundle: str, rounds: int, answers: int, candidates: Candidates) -> Samples:
    """Return the seconds of processor time of `answers` answers with a picture, of all threads of this process."""
    factory = Factory.of_bundle(open_bundle(bundle))
    return await _cost(factory, "Draw a penguin on a blue background.", rounds, answers, candidates)


async def cost_of_plans(rounds: int, candidates: Candidates) -> Samples:
    """Return the seconds of processor time of `PLANS` plans of workers that take no time."""
    return await _cost(Factory.of_toys(), scripted_prompt(("image", "audio"), 1, 0, 0), rounds, PLANS, candidates)


async def _cost(factory: Factory, text: str, rounds: int, answers: int, candidates: Candidates) -> Samples:
    # An answer with a known seed would come from a cache.
    seeds = count()

    async def cost(motet: Motet, context: Callable[[], AbstractAsyncContextManager[None]]) -> float:
        async with context():
            started = process_time()
            for seed in islice(seeds, answers):
                await generate(motet, text, seed)
        # The end of the context completes what the answers began, such as an export.
        return process_time() - started

    async with embedded(factory) as motet:
        return await alternating(rounds, {name: partial(cost, motet, each) for name, each in candidates.items()}, 1)
