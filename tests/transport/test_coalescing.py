"""Tests of coalescing: lists of the items that are ready at the same moment, heartbeats, and slow readers."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from motet.core.errors import RequestError
from motet.transport.coalescing import coalesced
from tests.waiting import in_virtual_time, run_ready_tasks


class RecordedStream:
    """A stream that pauses `pause` seconds before each item. It records the produced items, and its closing."""

    def __init__(self, *items, pause=None):
        self.items, self.pause, self.produced, self.closed = items, pause, [], False

    async def run(self):
        try:
            for item in self.items:
                if self.pause is not None:
                    await asyncio.sleep(self.pause)
                if isinstance(item, Exception):
                    raise item
                self.produced.append(item)
                yield item
        finally:
            self.closed = True


@in_virtual_time
async def test_a_list_has_all_items_since_the_last_list():
    async with aclosing(coalesced(RecordedStream(*range(9), pause=0).run())) as lists:
        first = await anext(lists)
        await run_ready_tasks(30)
        others = [items async for items in lists]

    assert first == [0]
    assert others == [list(range(1, 9))]


@in_virtual_time
async def test_without_a_minimum_interval_an_item_does_not_wait_for_the_next_item():
    assert [items async for items in coalesced(RecordedStream(1, 2, pause=0.01).run())] == [[1], [2]]


@in_virtual_time
async def test_items_within_the_minimum_interval_are_in_one_list():
    received = [items async for items in coalesced(RecordedStream(*range(30), pause=0.01).run(), min_interval=0.1)]

    assert len(received[0]) > 1
    assert len(received) < 15
    assert [item for items in received for item in items] == list(range(30))


@in_virtual_time
async def test_the_end_of_the_stream_ends_the_minimum_interval():
    async with asyncio.timeout(2):
        received = [items async for items in coalesced(RecordedStream(1, 2, pause=0.01).run(), min_interval=60)]

    assert received == [[1, 2]]


@in_virtual_time
async def test_heartbeats_are_empty_lists_during_silence_and_change_no_other_list():
    received = [items async for items in coalesced(RecordedStream(1, 2, pause=0.03).run(), heartbeat=0.01)]

    assert [items for items in received if items] == [[1], [2]]
    assert received.count([]) >= 2
    assert received[-1] == [2]


@in_virtual_time
async def test_a_stream_without_pauses_waits_while_the_unread_items_take_max_bytes():
    stream = RecordedStream(*[100] * 50)
    async with aclosing(coalesced(stream.run(), size_of=lambda item: item, max_bytes=250)) as lists:
        sizes = []
        async for items in lists:
            await run_ready_tasks(30)
            sizes.append(len(items))
            assert len(stream.produced) <= sum(sizes) + 3

    assert sum(sizes) == 50
    assert max(sizes) == 3


@in_virtual_time
async def test_closing_the_lists_closes_a_pausing_stream_and_a_waiting_stream():
    for stream, max_bytes in ((RecordedStream(1, 2, pause=60), 9.0), (RecordedStream(1, 2), 0.0)):
        before = asyncio.all_tasks()
        async with asyncio.timeout(2), aclosing(coalesced(stream.run(), max_bytes=max_bytes, heartbeat=0.005)) as lists:
            await anext(lists)

        assert stream.closed
        assert asyncio.all_tasks() == before


async def append_to(received, lists):
    async for items in lists:
        received += items


@in_virtual_time
async def test_the_error_of_a_stream_comes_after_its_items():
    received = []
    with pytest.raises(RequestError):
        await append_to(received, coalesced(RecordedStream(1, 2, RequestError("no")).run(), heartbeat=1))

    assert received == [1, 2]
