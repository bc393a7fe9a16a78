"""The number of series does not depend on what callers send."""

from __future__ import annotations

import os
import random
import string
from contextlib import aclosing
from uuid import UUID

from prometheus_client import REGISTRY

from motet.core.workers import Finished, TextPiece
from orchestrator.quota.limits import no_quotas
from tests.orchestrator.pipeline_harness import orchestrator_of, request_of

REQUESTS = int(os.environ.get("TEST_REQUESTS", "1000"))
"""Number of requests. 10,000 take 14 seconds of a processor."""


class OneWord:
    """A language model that answers at once."""

    async def generate(self, prompt, deadline):
        yield TextPiece("yes")
        yield Finished("stop", 1, 1)


def series() -> set[tuple[str, tuple[tuple[str, str], ...]]]:
    """Return the name and the labels of each sample of Motet."""
    return {
        (sample.name, tuple(sorted(sample.labels.items())))
        for metric in REGISTRY.collect()
        if metric.name.startswith("motet_")
        for sample in metric.samples
    }


async def test_requests_with_random_ids_tenants_and_prompts_add_no_series() -> None:
    rng = random.Random(16)
    motet = orchestrator_of(OneWord(), quotas=no_quotas, max_results=10)

    def word() -> str:
        return "zq" + "".join(rng.choices(string.ascii_letters, k=10))

    async def send() -> None:
        request = request_of(word(), request_id=str(UUID(int=rng.getrandbits(128))), tenant=word())
        async with aclosing(motet.generate(request)) as events:
            async for _ in events:
                pass

    for _ in range(10):
        await send()
    before = series()
    for _ in range(REQUESTS):
        await send()
    after = series()

    assert after == before
    assert not [labels for _, labels in after if any("zq" in value for _, value in labels)]
