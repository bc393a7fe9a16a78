"""Streams that several listen to, and which are made once."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from motet.caching.shared_streams import SharedStreams
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError
from tests.waiting import turns

NEVER = Deadline.never()


class Source:
    """A stream of numbers that goes on when it is told to; it notes how it was begun and stopped."""

    def __init__(self, error: Exception | None = None) -> None:
        self.deadlines: list[Deadline] = []
        self.stopped = 0
        self._error = error
        self._may_go_on = asyncio.Semaphore(0)

    @property
    def begun(self) -> int:
        return len(self.deadlines)

    def go_on(self, times: int = 1) -> None:
        for _ in range(times):
            self._may_go_on.release()

    async def stream(self, deadline: Deadline) -> AsyncIterator[int]:
        self.deadlines.append(deadline)
        try:
            for number in range(1, 4):
                await self._may_go_on.acquire()
                yield number
            if self._error:
                raise self._error
        finally:
            self.stopped += 1


async def all_of(
    flights: SharedStreams[int], source: Source, heard: list[int] | None = None, deadline: Deadline = NEVER
) -> list[int]:
    """What one listener is told."""
    heard = [] if heard is None else heard
    async with aclosing(flights.join("key", source.stream, deadline)) as items:
        async for item in items:
            heard.append(item)
    return heard


async def test_eight_who_want_the_same_cause_one_stream_and_hear_all_of_it() -> None:
    flights, source = SharedStreams[int](), Source()
    listeners = [asyncio.create_task(all_of(flights, source)) for _ in range(8)]
    await turns()
    source.go_on(3)

    assert await asyncio.gather(*listeners) == [[1, 2, 3]] * 8
    assert source.begun == 1
    assert "key" not in flights


async def test_different_keys_are_different_streams() -> None:
    flights, one, other = SharedStreams[int](), Source(), Source()
    one.go_on(3)
    other.go_on(3)

    async with aclosing(flights.join("other", other.stream, NEVER)) as items:
        assert await anext(items) == 1
        assert await all_of(flights, one) == [1, 2, 3]

    assert (one.begun, other.begun) == (1, 1)


async def test_who_joins_late_is_told_the_latest_and_then_the_rest() -> None:
    flights, source, early = SharedStreams[int](), Source(), []
    first = asyncio.create_task(all_of(flights, source, early))
    await turns()
    source.go_on(2)
    await turns()
    assert early == [1, 2]

    late = asyncio.create_task(all_of(flights, source))
    await turns()
    source.go_on()

    assert await late == [2, 3]
    assert await first == [1, 2, 3]


async def test_the_first_may_leave_and_the_others_hear_the_end() -> None:
    flights, source = SharedStreams[int](), Source()
    first, second = (asyncio.create_task(all_of(flights, source)) for _ in range(2))
    await turns()

    first.cancel()
    await turns()
    assert source.stopped == 0
    source.go_on(3)

    assert await second == [1, 2, 3]


async def test_when_the_last_has_left_the_stream_has_stopped() -> None:
    flights, source = SharedStreams[int](), Source()
    listeners = [asyncio.create_task(all_of(flights, source)) for _ in range(2)]
    await turns()

    for listener in listeners:
        listener.cancel()
    await asyncio.wait(listeners)

    assert source.stopped == 1
    assert "key" not in flights


async def test_leaving_before_anything_was_begun_leaves_nothing_behind() -> None:
    flights, source = SharedStreams[int](), Source()
    listener = asyncio.create_task(all_of(flights, source))
    await asyncio.sleep(0)
    listener.cancel()
    await asyncio.wait([listener])

    source.go_on(3)
    assert await all_of(flights, source) == [1, 2, 3]


async def test_who_comes_while_a_stream_is_being_stopped_gets_a_new_one() -> None:
    flights, stopping = SharedStreams[int](), asyncio.Event()

    async def stubborn(_: Deadline) -> AsyncIterator[int]:
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            await stopping.wait()

    async with aclosing(flights.join("key", stubborn, NEVER)) as items:
        await anext(items)
        leaving = asyncio.create_task(items.aclose())
        await turns()
        source = Source()
        source.go_on(3)
        assert await all_of(flights, source) == [1, 2, 3]
        stopping.set()
        await leaving


async def test_an_error_reaches_all_and_the_next_begins_anew() -> None:
    flights, broken = SharedStreams[int](), Source(ValueError("broken"))
    listeners = [asyncio.create_task(all_of(flights, broken)) for _ in range(3)]
    await turns()
    broken.go_on(3)
    await asyncio.wait(listeners)

    assert [str(listener.exception()) for listener in listeners] == ["broken"] * 3
    broken.go_on(3)
    with pytest.raises(ValueError, match="broken"):
        await all_of(flights, broken)
    assert broken.begun == 2


async def test_each_listens_until_its_own_deadline_and_no_longer() -> None:
    flights, source = SharedStreams[int](), Source()
    hasty = asyncio.create_task(all_of(flights, source, deadline=Deadline.after(0.02)))
    patient = asyncio.create_task(all_of(flights, source, deadline=Deadline.after(30)))

    with pytest.raises(DeadlineError):
        await hasty
    assert source.stopped == 0
    source.go_on(3)

    assert await patient == [1, 2, 3]


async def test_the_last_to_run_late_stops_the_stream() -> None:
    flights, source = SharedStreams[int](), Source()

    with pytest.raises(DeadlineError):
        await all_of(flights, source, deadline=Deadline.after(0.02))

    assert source.stopped == 1


async def test_a_stream_that_runs_out_of_time_begins_again_with_the_most_that_anybody_has() -> None:
    flights, source = SharedStreams[int](), Source(DeadlineError("out of time"))
    ends = [Deadline.after(seconds) for seconds in (10, 30, 20)]
    listeners = [asyncio.create_task(all_of(flights, source, deadline=end)) for end in ends]
    await turns()
    source.go_on(6)
    await asyncio.wait(listeners)

    assert source.deadlines == ends[:2]
    assert {str(listener.exception()) for listener in listeners} == {"out of time"}
    assert source.stopped == 2


class Thing:
    """What a stream may tell."""


async def test_what_a_stream_told_is_held_by_nobody_once_its_last_listener_has_left() -> None:
    flights, told = SharedStreams[Thing](), []

    async def stream(deadline: Deadline) -> AsyncIterator[Thing]:
        thing = Thing()
        told.append(weakref.ref(thing))
        yield thing

    gc.disable()
    try:
        async with aclosing(flights.join("key", stream, NEVER)) as items:
            async for _ in items:
                pass
        del items, _
        await turns()
        assert [held() for held in told] == [None]
    finally:
        gc.enable()
