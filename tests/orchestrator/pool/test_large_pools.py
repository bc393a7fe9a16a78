"""Pools of many replicas and tenants: a call costs as much as in a small pool, and finds the free replicas."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from random import Random
from types import FrameType
from typing import Any

import pytest

from motet.core.clock import now
from orchestrator.pool import pool
from orchestrator.pool.ready.ready_replicas import ReadyReplicas
from tests.orchestrator.pool_harness import PoolHarness, settle
from tests.waiting import in_virtual_time

FOLDERS = (str(Path(pool.__file__).parent), str(Path(pool.__file__).parents[2] / "motet" / "scheduling"))
REGULAR = "_measure"
"""The function that runs every 50 ms for all calls, see `Hedges`."""


class Lines:
    """The number of lines of the pool that ran within the context, each round of a loop included."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Lines:
        sys.settrace(self._call)
        return self

    def __exit__(self, *exception: object) -> None:
        sys.settrace(None)

    def _call(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        return self._line if code.co_filename.startswith(FOLDERS) and code.co_name != REGULAR else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        self.count += event == "line"
        return self._line


async def lines_of_a_call(replicas: int, calls: int, tenants: int = 2) -> float:
    """Return the lines that run for a call, on average. Each replica has one slot, and the tenants take turns."""
    async with PoolHarness(*[None] * replicas, delay=0.01) as harness:
        await settle()
        with Lines() as lines:
            await asyncio.gather(*(harness.start(number, f"tenant {number % tenants}") for number in range(calls)))
        assert sum(harness.counts) == calls
        assert max(harness.counts) <= -(-calls // replicas) + 1
    return lines.count / calls


@pytest.mark.parametrize("share", [0.5, 1.5], ids=["free slots", "a queue"])
def test_a_call_runs_as_many_lines_with_many_replicas_as_with_few(share: float) -> None:
    @in_virtual_time
    async def test() -> None:
        few, many = [await lines_of_a_call(replicas, int(share * replicas)) for replicas in (20, 400)]

        assert many < 1.2 * few, (few, many)

    test()


@in_virtual_time
async def test_a_call_runs_as_many_lines_if_many_tenants_wait_as_if_few_do() -> None:
    few, many = [await lines_of_a_call(replicas=4, calls=400, tenants=tenants) for tenants in (10, 200)]

    assert many < 1.2 * few, (few, many)


@in_virtual_time
async def test_a_retry_and_a_hedge_go_to_a_replica_with_a_free_slot_also_in_a_large_pool() -> None:
    async with PoolHarness(*[None] * 60) as harness:
        replicas = harness.pool._replicas
        tasks = [harness.start(seed) for seed in range(57)]
        await settle()
        free = {number for number, running in enumerate(harness.running) if not running}
        (other,) = (each for each in replicas.members if int(each.address) == min(free))

        for _ in range(100):
            found = replicas.others(other, now())
            assert {int(each.address) for each in found} == free - {min(free)}
            assert replicas.ready.others(other, now()) == found
        await asyncio.gather(*tasks)


@in_virtual_time
async def test_the_sums_of_slots_and_calls_are_those_of_the_ready_replicas_after_any_changes() -> None:
    random = Random(0)
    async with PoolHarness(*[None] * 30, slots=2) as harness:
        replicas = harness.pool._replicas
        tasks = []
        for step in range(300):
            number = random.randrange(30)
            match random.randrange(6):
                case 0 | 1:
                    tasks.append(harness.start(step, random.choice("abc")))
                case 2:
                    harness.feeds[number].send(slots=random.randrange(4), draining=random.random() < 0.2)
                case 3:
                    harness.feeds[number].disconnect()
                case 4:
                    await harness.set_members(*random.sample(range(30), 25))
                case _:
                    await asyncio.sleep(random.random() / 5)
            await settle()
            check_sums(replicas.ready, replicas.members)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def check_sums(ready: ReadyReplicas[Any], members: list[Any]) -> None:
    moment = asyncio.get_running_loop().time()
    usable = [each for each in members if each.usable(moment) and each.circuit_breaker.until is None]
    tenants = [attempt.call.tenant for each in usable for attempt in each.attempts]
    assert ready.free_slots == sum(max(0, each.slots - len(each.attempts)) for each in usable)
    assert ready.running == {tenant: tenants.count(tenant) for tenant in set(tenants)}
    assert ready.unlimited is any(not each.slots for each in usable)
    assert ready.slots(moment) == sum(each.slots for each in members if each.usable(moment))
    free = {each for each in members if each.usable(moment) and each.free}
    assert set(ready.free(moment)) <= free
    assert bool(ready.free(moment)) is bool(free)
