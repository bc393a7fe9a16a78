"""The end of an orchestrator's process: every answer that it breaks off gets its last event."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace

import pytest

from motet.client import Client
from motet.core.errors import MotetError, Reason
from motet.core.events import Done, Event, PartProgress, State
from motet.core.request import DecoderOptions, GenerationRequest, Message
from motet.toys.manifest import TOY
from motet.toys.workers import ToyDecoder, ToyEncoder, ToyLanguageModel
from services.exit_codes import Exit
from services.orchestrator.service import orchestrator_service
from services.ready_line import ReadyLine
from services.serve import serve
from tests.transport.serving import served

LONG = GenerationRequest(
    (Message("user", ("hello",)),),
    seed=1,
    allowed_modalities=frozenset({"text", "image"}),
    decoder_options={"image": DecoderOptions(steps=1000)},
)


async def end_of(stream: AsyncIterator[Event], started: asyncio.Event | None = None) -> tuple[Event, MotetError | None]:
    """Return the last event of a stream, and the error at its end. Set `started` at the first progress of a part."""
    error = None
    try:
        async for last in stream:
            if started is not None and isinstance(last.payload, PartProgress):
                started.set()
    except MotetError as caught:
        error = caught
    return last, error


async def refused(client: Client) -> None:
    """Wait until the server refuses requests."""
    with suppress(MotetError):
        while await client.answer(replace(LONG, decoder_options={})):
            pass


@pytest.mark.parametrize("signals", [1, 2])
async def test_caller_and_watcher_of_a_broken_answer_get_its_last_event_and_the_exit_code_is_1(
    signals: int, capsys: pytest.CaptureFixture[str]
) -> None:
    toys = ToyEncoder(), ToyLanguageModel(TOY.grammar), ToyDecoder(delay=0.05)
    async with served(*toys) as (workers, _):
        options = {
            "toy": True,
            "listen": "127.0.0.1:0",
            "encoder": workers.address,
            "language_model": workers.address,
            "decoders": [f"{modality}={workers.address}" for modality in TOY.signals],
            "grace": 0.1 if signals == 1 else 3600,
        }
        serving = asyncio.create_task(serve(orchestrator_service(options)))
        output = ""
        while not (ready := ReadyLine.read(output)):
            await asyncio.sleep(0.01)
            output += capsys.readouterr().out
        async with Client(ready.address) as client:
            started = asyncio.Event()
            caller = asyncio.create_task(end_of(client.generate(LONG), started))
            await started.wait()
            ((generation,), _) = await client.generations()
            watcher = asyncio.create_task(end_of(client.watch(generation.name), watched := asyncio.Event()))
            await watched.wait()
            os.kill(os.getpid(), signal.SIGTERM)
            if signals == 2:
                await refused(client)  # Two signals that are pending at the same time are one.
                os.kill(os.getpid(), signal.SIGTERM)
            ends = await asyncio.gather(caller, watcher)

        assert await serving is Exit.FAILED
    for last, error in ends:
        assert isinstance(last.payload, Done)
        record = last.payload.generation
        assert (record.state, error) == (State.PARTIAL, None)
        assert [failure.error.reason for failure in record.failures] == [Reason.DRAINING]
        assert record.failures[0].retryable
