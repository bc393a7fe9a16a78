"""Tests of single-flight: concurrent subscribers share one stream."""

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
from tests.waiting import in_virtual_time, run_ready_tasks

NEVER = Deadline.never()


class Source:
    """A source of streams of numbers with one number per permit of `allow`. It records its starts and stops."""

    def __init__(self, error: Exception | None = None) -> None:
        self.deadlines: list[Deadline] = []
        self.stopped = 0
        self._error = error
        self._permits = asyncio.Semaphore(0)

    @property
    def starts(self) -> int:
        return len(self.deadlines)

    def allow(self, times: int = 1) -> None:
        for _ in range(times):
            self._permits.release()

    async def stream(self, deadline: Deadline) -> AsyncIterator[int]:
        self.deadlines.append(deadline)
        try:
            for number in range(1, 4):
                await self._permits.acquire()
                yield number
            if self._error:
                raise self._error
        finally:
            self.stopped += 1


async def all_of(
    streams: SharedStreams[int], source: Source, received: list[int] | None = None, deadline: Deadline = NEVER
) -> list[int]:
    """Return all items that a subscriber receives. Append them to `received` as they arrive."""
    received = [] if received is None else received
    async with aclosing(streams.join("key", source.stream, deadline)) as items:
        async for item in items:
            received.append(item)
    return received


async def test_eight_subscribers_share_one_stream_and_receive_all_items() -> None:
    streams, source = SharedStreams[int](), Source()
    subscribers = [asyncio.create_task(all_of(streams, source)) for _ in range(8)]
    await run_ready_tasks()
    source.allow(3)

    assert await asyncio.gather(*subscribers) == [[1, 2, 3]] * 8
    assert source.starts == 1
    assert "key" not in streams


async def test_different_keys_are_different_streams() -> None:
    streams, one, other = SharedStreams[int](), Source(), Source()
    one.allow(3)
    other.allow(3)

    async with aclosing(streams.join("other", other.stream, NEVER)) as items:
        assert await anext(items) == 1
        assert await all_of(streams, one) == [1, 2, 3]

    assert (one.starts, other.starts) == (1, 1)


async def test_a_late_subscriber_gets_the_latest_item_and_all_later_items() -> None:
    streams, source, early = SharedStreams[int](), Source(), []
    first = asyncio.create_task(all_of(streams, source, early))
    await run_ready_tasks()
    source.allow(2)
    await run_ready_tasks()
    assert early == [1, 2]

    late = asyncio.create_task(all_of(streams, source))
    await run_ready_tasks()
    source.allow()

    assert await late == [2, 3]
    assert await first == [1, 2, 3]


async def test_the_others_receive_all_items_after_the_first_subscriber_cancels() -> None:
    streams, source = SharedStreams[int](), Source()
    first, second = (asyncio.create_task(all_of(streams, source)) for _ in range(2))
    await run_ready_tasks()

    first.cancel()
    await run_ready_tasks()
    assert source.stopped == 0
    source.allow(3)

    assert await second == [1, 2, 3]


async def test_the_stream_stops_when_the_last_subscriber_cancels() -> None:
    streams, source = SharedStreams[int](), Source()
    subscribers = [asyncio.create_task(all_of(streams, source)) for _ in range(2)]
    await run_ready_tasks()

    for subscriber in subscribers:
        subscriber.cancel()
    await asyncio.wait(subscribers)

    assert source.stopped == 1
    assert "key" not in streams


async def test_a_subscriber_that_cancels_before_the_start_leaves_no_stream() -> None:
    streams, source = SharedStreams[int](), Source()
    subscriber = asyncio.create_task(all_of(streams, source))
    await asyncio.sleep(0)
    subscriber.cancel()
    await asyncio.wait([subscriber])

    source.allow(3)
    assert await all_of(streams, source) == [1, 2, 3]


async def test_a_subscriber_during_the_stop_of_a_stream_gets_a_new_stream() -> None:
    streams, stopping = SharedStreams[int](), asyncio.Event()

    async def slow_to_stop(_: Deadline) -> AsyncIterator[int]:
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            await stopping.wait()

    async with aclosing(streams.join("key", slow_to_stop, NEVER)) as items:
        await anext(items)
        closing = asyncio.create_task(items.aclose())
        await run_ready_tasks()
        source = Source()
        source.allow(3)
        assert await all_of(streams, source) == [1, 2, 3]
        stopping.set()
        await closing


async def test_an_error_reaches_all_subscribers_and_the_next_subscriber_starts_a_new_stream() -> None:
    streams, broken = SharedStreams[int](), Source(ValueError("broken"))
    subscribers = [asyncio.create_task(all_of(streams, broken)) for _ in range(3)]
    await run_ready_tasks()
    broken.allow(3)
    await asyncio.wait(subscribers)

    assert [str(subscriber.exception()) for subscriber in subscribers] == ["broken"] * 3
    broken.allow(3)
    with pytest.raises(ValueError, match="broken"):
        await all_of(streams, broken)
    assert broken.starts == 2


async def test_a_cancellation_inside_the_stream_reaches_all_subscribers() -> None:
    streams = SharedStreams[int]()
    started = asyncio.Event()
    tasks: list[asyncio.Task[None] | None] = []

    async def stream(_: Deadline) -> AsyncIterator[int]:
        tasks.append(asyncio.current_task())
        started.set()
        await asyncio.Event().wait()
        yield 0

    async def first() -> int:
        async with aclosing(streams.join("key", stream, NEVER)) as items:
            return await anext(items)

    subscribers = [asyncio.create_task(first()) for _ in range(2)]
    await started.wait()
    assert tasks[0] is not None
    tasks[0].cancel()
    await asyncio.wait(subscribers)

    assert all(subscriber.cancelled() for subscriber in subscribers)


@in_virtual_time
async def test_each_subscription_ends_at_its_own_deadline() -> None:
    streams, source = SharedStreams[int](), Source()
    short = asyncio.create_task(all_of(streams, source, deadline=Deadline.after(0.02)))
    long = asyncio.create_task(all_of(streams, source, deadline=Deadline.after(30)))

    with pytest.raises(DeadlineError):
        await short
    assert source.stopped == 0
    source.allow(3)

    assert await long == [1, 2, 3]


@in_virtual_time
async def test_the_last_deadline_stops_the_stream() -> None:
    streams, source = SharedStreams[int](), Source()

    with pytest.raises(DeadlineError):
        await all_of(streams, source, deadline=Deadline.after(0.02))

    assert source.stopped == 1


async def test_a_stream_after_its_deadline_restarts_with_the_latest_deadline() -> None:
    streams, source = SharedStreams[int](), Source(DeadlineError("out of time"))
    deadlines = [Deadline.after(seconds) for seconds in (10, 30, 20)]
    subscribers = [asyncio.create_task(all_of(streams, source, deadline=deadline)) for deadline in deadlines]
    await run_ready_tasks()
    source.allow(6)
    await asyncio.wait(subscribers)

    assert source.deadlines == deadlines[:2]
    assert {str(subscriber.exception()) for subscriber in subscribers} == {"out of time"}
    assert source.stopped == 2


class Item:
    """An item of a stream."""


async def test_the_latest_item_is_freed_after_the_last_subscription() -> None:
    streams, references = SharedStreams[Item](), []

    async def stream(deadline: Deadline) -> AsyncIterator[Item]:
        item = Item()
        references.append(weakref.ref(item))
        yield item

    gc.disable()
    try:
        async with aclosing(streams.join("key", stream, NEVER)) as items:
            async for _ in items:
                pass
        del items, _
        await run_ready_tasks()
        assert [reference() for reference in references] == [None]
    finally:
        gc.enable()
