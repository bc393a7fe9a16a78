"""Who comes in where only so many may be at a time."""

from __future__ import annotations

import asyncio

import pytest

from motet.scheduling.fair_semaphore import FairSemaphore
from tests.waiting import turns


class Guests:
    """Come into a room in the order in which they are asked, and note when they are in."""

    def __init__(self, places: int) -> None:
        self.inside: list[str] = []
        self._room = FairSemaphore(places)
        self._leaving: dict[str, asyncio.Event] = {}

    async def come(self, name: str, tenant: str = "", priority: int = 0) -> asyncio.Task[None]:
        self._leaving[name] = asyncio.Event()
        visit = asyncio.create_task(self._visit(name, tenant, priority))
        await asyncio.sleep(0)
        return visit

    def leave(self, name: str) -> None:
        self._leaving[name].set()

    async def all_leave(self, *visits: asyncio.Task[None]) -> list[str]:
        for event in self._leaving.values():
            event.set()
        await asyncio.gather(*visits)
        return self.inside

    async def _visit(self, name: str, tenant: str, priority: int) -> None:
        async with self._room.slot(tenant, priority):
            self.inside.append(name)
            await self._leaving[name].wait()


async def test_no_more_are_in_than_there_are_places() -> None:
    guests = Guests(2)
    visits = [await guests.come(name) for name in "abc"]
    await turns()
    assert guests.inside == ["a", "b"]

    guests.leave("a")
    await turns()
    assert guests.inside == ["a", "b", "c"]
    await guests.all_leave(*visits)


async def test_the_urgent_come_in_first_and_tenants_by_turns() -> None:
    guests = Guests(1)
    visits = [await guests.come("first")]
    visits += [await guests.come(f"much {number}", "greedy") for number in range(3)]
    visits += [await guests.come("little", "modest"), await guests.come("urgent", "greedy", priority=1)]

    assert await guests.all_leave(*visits) == ["first", "urgent", "little", "much 0", "much 1", "much 2"]


@pytest.mark.parametrize("free", [False, True], ids=["while it waits", "when its turn has come"])
async def test_who_gives_up_takes_no_place_with_it(free: bool) -> None:
    guests = Guests(1)
    first, second = await guests.come("first"), await guests.come("second")

    if free:
        guests.leave("first")
        await asyncio.sleep(0)  # the place is the second's now, who does not know it yet
    second.cancel()
    await turns()

    assert await guests.all_leave(first, await guests.come("third")) == ["first", "third"]


async def test_a_place_left_when_the_next_has_just_given_up_goes_to_the_one_after() -> None:
    guests = Guests(1)
    first, second, third = [await guests.come(name) for name in ("first", "second", "third")]

    guests.leave("first")
    second.cancel()  # both are heard of in the next turn, the leaving first

    assert await guests.all_leave(first, third) == ["first", "third"]
