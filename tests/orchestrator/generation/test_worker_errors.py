"""Tests of worker streams: they are always closed, and unexpected exceptions become faults."""

from __future__ import annotations

import asyncio
import logging

import pytest

from motet.core.closing import closing
from motet.core.errors import FaultError, RequestError
from orchestrator.generation.worker_errors import worker_stream


class RecordedStream:
    """A stream that records whether it was closed."""

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


@pytest.mark.parametrize("open_stream", [closing, lambda stream: worker_stream("it", stream)])
async def test_a_stream_is_closed_with_its_context(open_stream):
    stream = RecordedStream(1, 2)
    async with open_stream(stream.run()) as items:
        async for _ in items:
            break

    assert stream.closed


async def test_an_unexpected_exception_of_a_worker_is_a_fault_without_its_message(caplog):
    caplog.set_level(logging.CRITICAL)
    for error in (ValueError("secret"), TimeoutError("secret")):
        with pytest.raises(FaultError) as caught:
            async with worker_stream("the decoder", RecordedStream(error).run()) as items:
                await anext(items)
        assert "secret" not in caught.value.message
        assert "the decoder" in caught.value.message


async def test_motet_errors_and_errors_of_the_reader_are_not_changed():
    with pytest.raises(RequestError):
        async with worker_stream("it", RecordedStream(RequestError("no")).run()) as items:
            await anext(items)
    with pytest.raises(KeyError):
        async with worker_stream("it", RecordedStream(1).run()):
            raise KeyError
