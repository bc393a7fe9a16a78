"""A worker's stream is closed for certain, its accidents become our errors, and silence is filled."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

import pytest

from motet.core.closing import closing
from motet.core.errors import FaultError, RequestError
from orchestrator.pulse import with_pulse
from orchestrator.streams import hearing
from tests.orchestrator.stage import nothing_left_behind


class Tap:
    """A stream that tells whether it was closed."""

    def __init__(self, *items, pause=0.0):
        self.items, self.pause, self.closed = items, pause, False

    async def run(self):
        try:
            for item in self.items:
                await asyncio.sleep(self.pause)
                if isinstance(item, Exception):
                    raise item
                yield item
        finally:
            self.closed = True


@pytest.mark.parametrize("reading", [closing, lambda stream: hearing("it", stream)])
async def test_a_stream_is_closed_when_its_reader_leaves(reading):
    tap = Tap(1, 2)
    async with reading(tap.run()) as items:
        async for _ in items:
            break

    assert tap.closed


async def test_what_a_worker_raises_against_its_promise_is_a_fault_that_hides_its_text(caplog):
    caplog.set_level(logging.CRITICAL)
    for error in (ValueError("secret"), TimeoutError("secret")):
        with pytest.raises(FaultError) as caught:
            async with hearing("the decoder", Tap(error).run()) as items:
                await anext(items)
        assert "secret" not in caught.value.message
        assert "the decoder" in caught.value.message


async def test_errors_of_ours_and_of_the_reader_pass_as_they_are():
    with pytest.raises(RequestError):
        async with hearing("it", Tap(RequestError("no")).run()) as items:
            await anext(items)
    with pytest.raises(KeyError):
        async with hearing("it", Tap(1).run()):
            raise KeyError


async def test_a_pulse_fills_silence_and_changes_nothing_else():
    heard = [item async for item in with_pulse(Tap(1, 2, pause=0.03).run(), 0.01)]

    assert [items for items in heard if items] == [[1], [2]]
    assert heard.count([]) >= 2
    assert heard[-1] == [2]


async def test_what_was_said_between_two_beats_of_a_pulse_is_heard_at_once():
    async with aclosing(with_pulse(Tap(*range(9)).run(), 10)) as heard:
        first = await anext(heard)
        for _ in range(20):
            await asyncio.sleep(0)
        rest = [items async for items in heard]

    assert first == [0]
    assert rest == [list(range(1, 9))]


async def test_closing_a_pulse_closes_the_stream_it_waits_for():
    tap = Tap(1, 2, pause=60)
    async with nothing_left_behind(), asyncio.timeout(2):
        async with aclosing(with_pulse(tap.run(), 0.005)) as items:
            await anext(items)

        assert tap.closed


async def test_what_the_stream_raises_comes_through_a_pulse():
    with pytest.raises(RequestError):
        [item async for item in with_pulse(Tap(RequestError("no")).run(), 1)]
