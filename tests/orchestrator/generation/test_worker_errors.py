"""A worker's stream is closed for certain, and its accidents become our errors."""

from __future__ import annotations

import asyncio
import logging

import pytest

from motet.core.closing import closing
from motet.core.errors import FaultError, RequestError
from orchestrator.generation.worker_errors import worker_stream


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


@pytest.mark.parametrize("reading", [closing, lambda stream: worker_stream("it", stream)])
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
            async with worker_stream("the decoder", Tap(error).run()) as items:
                await anext(items)
        assert "secret" not in caught.value.message
        assert "the decoder" in caught.value.message


async def test_errors_of_ours_and_of_the_reader_pass_as_they_are():
    with pytest.raises(RequestError):
        async with worker_stream("it", Tap(RequestError("no")).run()) as items:
            await anext(items)
    with pytest.raises(KeyError):
        async with worker_stream("it", Tap(1).run()):
            raise KeyError
