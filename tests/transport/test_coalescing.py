"""What is ready at the same moment goes on together; silence is filled, and slow readers are waited for."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from motet.core.errors import RequestError
from motet.transport.coalescing import coalesced
from tests.waiting import turns


class Tap:
    """A stream that tells what it has said so far, and whether it was closed."""

    def __init__(self, *items, pause=None):
        self.items, self.pause, self.said, self.closed = items, pause, [], False

    async def run(self):
        try:
            for item in self.items:
                if self.pause is not None:
                    await asyncio.sleep(self.pause)
                if isinstance(item, Exception):
                    raise item
                self.said.append(item)
                yield item
        finally:
            self.closed = True


async def test_what_was_said_since_the_last_bunch_is_heard_at_once():
    async with aclosing(coalesced(Tap(*range(9), pause=0).run())) as bunches:
        first = await anext(bunches)
        await turns(30)
        rest = [bunch async for bunch in bunches]

    assert first == [0]
    assert rest == [list(range(1, 9))]


async def test_nothing_waits_for_company():
    assert [bunch async for bunch in coalesced(Tap(1, 2, pause=0.01).run())] == [[1], [2]]


async def test_before_each_bunch_it_rests_and_what_is_said_meanwhile_goes_on_together():
    heard = [bunch async for bunch in coalesced(Tap(*range(30), pause=0.01).run(), min_interval=0.1)]

    assert len(heard[0]) > 1
    assert len(heard) < 15
    assert [item for bunch in heard for item in bunch] == list(range(30))


async def test_the_end_of_a_stream_ends_the_rest():
    async with asyncio.timeout(2):
        assert [bunch async for bunch in coalesced(Tap(1, 2, pause=0.01).run(), min_interval=60)] == [[1, 2]]


async def test_a_pulse_fills_silence_and_changes_nothing_else():
    heard = [bunch async for bunch in coalesced(Tap(1, 2, pause=0.03).run(), heartbeat=0.01)]

    assert [bunch for bunch in heard if bunch] == [[1], [2]]
    assert heard.count([]) >= 2
    assert heard[-1] == [2]


async def test_a_stream_that_never_pauses_waits_for_room():
    tap = Tap(*[100] * 50)
    async with aclosing(coalesced(tap.run(), size_of=lambda item: item, max_bytes=250)) as bunches:
        sizes = []
        async for bunch in bunches:
            await turns(30)
            sizes.append(len(bunch))
            assert len(tap.said) <= sum(sizes) + 3

    assert sum(sizes) == 50
    assert max(sizes) == 3


async def test_closing_bunches_closes_the_stream_they_wait_for():
    for tap, room in ((Tap(1, 2, pause=60), 9.0), (Tap(1, 2), 0.0)):
        before = asyncio.all_tasks()
        async with asyncio.timeout(2), aclosing(coalesced(tap.run(), max_bytes=room, heartbeat=0.005)) as bunches:
            await anext(bunches)

        assert tap.closed
        assert asyncio.all_tasks() == before


async def told(bunches, heard):
    async for bunch in bunches:
        heard += bunch


async def test_what_the_stream_raises_comes_after_what_it_said():
    heard = []
    with pytest.raises(RequestError):
        await told(coalesced(Tap(1, 2, RequestError("no")).run(), heartbeat=1), heard)

    assert heard == [1, 2]
