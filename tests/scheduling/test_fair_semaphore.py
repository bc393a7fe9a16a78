"""Tests of the order in which waiters acquire slots, and of cancellation."""

from __future__ import annotations

import asyncio

import pytest

from motet.scheduling.fair_queue import AGEING
from motet.scheduling.fair_semaphore import FairSemaphore
from tests.waiting import in_virtual_time, run_ready_tasks


class Holders:
    """Named tasks that each hold a slot until `release`, and the order in which they acquired their slots."""

    def __init__(self, slots: int) -> None:
        self.acquired: list[str] = []
        self._semaphore = FairSemaphore(slots)
        self._released: dict[str, asyncio.Event] = {}

    async def start(self, name: str, tenant: str = "", priority: int = 0) -> asyncio.Task[None]:
        self._released[name] = asyncio.Event()
        task = asyncio.create_task(self._hold(name, tenant, priority))
        await asyncio.sleep(0)
        return task

    def release(self, name: str) -> None:
        self._released[name].set()

    async def release_all(self, *tasks: asyncio.Task[None]) -> list[str]:
        for event in self._released.values():
            event.set()
        await asyncio.gather(*tasks)
        return self.acquired

    async def _hold(self, name: str, tenant: str, priority: int) -> None:
        async with self._semaphore.slot(tenant, priority):
            self.acquired.append(name)
            await self._released[name].wait()


async def test_no_more_slots_are_held_than_there_are() -> None:
    holders = Holders(2)
    tasks = [await holders.start(name) for name in "abc"]
    await run_ready_tasks()
    assert holders.acquired == ["a", "b"]

    holders.release("a")
    await run_ready_tasks()
    assert holders.acquired == ["a", "b", "c"]
    await holders.release_all(*tasks)


async def test_a_higher_priority_is_served_first_and_tenants_share_the_rest() -> None:
    holders = Holders(1)
    tasks = [await holders.start("first")]
    tasks += [await holders.start(f"greedy {number}", "greedy") for number in range(3)]
    tasks += [await holders.start("modest", "modest"), await holders.start("urgent", "greedy", priority=1)]

    assert await holders.release_all(*tasks) == ["first", "urgent", "modest", "greedy 0", "greedy 1", "greedy 2"]


@pytest.mark.parametrize("free", [False, True], ids=["while it waits", "when a slot is free"])
async def test_a_cancelled_waiter_takes_no_slot(free: bool) -> None:
    holders = Holders(1)
    first, second = await holders.start("first"), await holders.start("second")

    if free:
        holders.release("first")
        await asyncio.sleep(0)  # The second has acquired the slot, but has not resumed yet.
    second.cancel()
    await run_ready_tasks()

    assert await holders.release_all(first, await holders.start("third")) == ["first", "third"]


async def test_a_slot_released_at_the_moment_of_a_cancellation_goes_to_the_next_waiter() -> None:
    holders = Holders(1)
    first, second, third = [await holders.start(name) for name in ("first", "second", "third")]

    holders.release("first")
    second.cancel()  # The event loop processes both in its next iteration, the release first.

    assert await holders.release_all(first, third) == ["first", "third"]


@in_virtual_time
async def test_a_low_priority_does_not_starve_while_higher_priorities_arrive() -> None:
    holders = Holders(1)
    tasks = [await holders.start("first"), await holders.start("low", "patient", priority=-2)]
    previous, number = "first", 0
    while "low" not in holders.acquired and number < 50:
        tasks.append(await holders.start(f"high {number}", "busy", priority=2))
        await asyncio.sleep(AGEING / 4)
        holders.release(previous)
        await run_ready_tasks()
        previous, number = holders.acquired[-1], number + 1
    await holders.release_all(*tasks)

    # Four priorities are between them, so the wait is about four times the ageing interval.
    assert 12 <= number <= 20
