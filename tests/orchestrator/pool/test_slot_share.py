"""Tests of the slots that a tenant leaves to others."""

from __future__ import annotations

import asyncio

import pytest

from tests.orchestrator.pool_harness import PoolHarness, settle
from tests.waiting import in_virtual_time


@in_virtual_time
async def test_a_tenant_that_is_alone_takes_all_slots() -> None:
    async with PoolHarness(None, slots=8) as harness:
        tasks = [harness.start(seed, "greedy") for seed in range(20)]
        await settle()

        assert harness.running == [8]
        await asyncio.gather(*tasks)


@pytest.mark.parametrize(("slots", "taken"), [(1, 1), (2, 2), (3, 2), (4, 3), (8, 6), (16, 13)])
def test_beside_another_tenant_it_leaves_slots_free(slots: int, taken: int) -> None:
    @in_virtual_time
    async def test() -> None:
        async with PoolHarness(None, slots=slots) as harness:
            await harness.start(0, "modest")
            tasks = [harness.start(seed, "greedy") for seed in range(1, 30)]
            await settle()

            assert harness.running == [taken]
            await asyncio.gather(*tasks)
            assert harness.idle

    test()


@in_virtual_time
async def test_the_next_call_of_the_other_tenant_does_not_wait() -> None:
    async with PoolHarness(None, slots=4) as harness:
        await harness.start(0, "modest")
        greedy = [harness.start(seed, "greedy") for seed in range(1, 20)]
        for seed in range(100, 110):
            await asyncio.sleep(0.33)
            began = asyncio.get_running_loop().time()
            _, at = await harness.start(seed, "modest")

            assert at - began == pytest.approx(1.0), "a job takes a second"
        await asyncio.gather(*greedy)


@in_virtual_time
async def test_a_tenant_whose_last_call_is_long_ago_gets_no_free_slot() -> None:
    async with PoolHarness(None, slots=4) as harness:
        await harness.start(0, "modest")
        await asyncio.sleep(10.0)
        tasks = [harness.start(seed, "greedy") for seed in range(1, 10)]
        await settle()

        assert harness.running == [4]
        await asyncio.gather(*tasks)


@in_virtual_time
async def test_the_share_counts_the_slots_of_all_replicas() -> None:
    async with PoolHarness(None, None, slots=4) as harness:
        await harness.start(0, "modest")
        tasks = [harness.start(seed, "greedy") for seed in range(1, 20)]
        await settle()

        assert sum(harness.running) == 6
        await asyncio.gather(*tasks)
