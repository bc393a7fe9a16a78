"""Pods that join a pool under a steady load: the time until their first job, and their share of the jobs."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from motet.core.workers import Workers
from tests.services.orchestrator.discovery.kubernetes_double import KubernetesDouble
from tests.services.orchestrator.discovery.test_kubernetes_pools import Pods, decode, pods
from tests.waiting import LoopSeconds, until

__all__ = ["pods"]
logger = logging.getLogger(__name__)
SLOTS = 2
JOBS = 300
"""Number of jobs by which the share of each pod is measured."""
FIRST_JOB = 5.0
"""Maximum time from the announcement of a pod to its first job, in seconds."""


@asynccontextmanager
async def steady_load(workers: Workers, callers: int) -> AsyncIterator[None]:
    """Let callers send one job after another. Each of them must succeed."""
    seeds = itertools.count()
    ending = False

    async def call() -> None:
        while not ending:
            await decode(workers, next(seeds))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(call())
        yield
        ending = True


# With 12 callers, every slot of the three pods always has a job. With 3, half of the slots are free.
@pytest.mark.parametrize("callers", [12, 3])
async def test_new_pods_get_work_within_five_seconds_and_their_even_share(
    pods: Pods, cluster: KubernetesDouble, callers: int
) -> None:
    await pods.add(slots=SLOTS, delay=0.002)
    workers = await pods.pools(queue_seconds=1000)
    async with steady_load(workers, callers):
        await until(lambda: pods.counts[0] > 10)
        new = [await pods.start(slots=SLOTS, delay=0.002) for _ in range(2)]
        async with LoopSeconds() as clock:
            for number in new:
                pods.put(number)
            await until(lambda: min(pods.counts) > 0)
        before = pods.counts
        await until(lambda: sum(pods.counts) >= sum(before) + JOBS)
        shares = [now - then for now, then in zip(pods.counts, before, strict=True)]

    even = sum(shares) / len(shares)
    # `pytest --log-cli-level=info` shows the figures.
    logger.info("first jobs after %.2f s, jobs of each pod: %s", clock.seconds, shares)
    assert clock.seconds <= FIRST_JOB
    assert max(abs(share - even) for share in shares) <= 0.1 * even, shares
