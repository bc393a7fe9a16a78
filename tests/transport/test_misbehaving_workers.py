"""Tests of workers that break the grammar of their streams or send without end: the call ends at a bound."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Any

import grpc.aio
import pytest

from motet.core.deadline import Deadline
from motet.core.errors import FaultError, RequestError
from motet.core.media import CHUNK_BYTES, Media
from motet.core.tensors import Tensor
from motet.core.workers import Prompt, Turn
from motet.internal.v1 import (
    decoder_service_pb2 as decoder_pb,
)
from motet.internal.v1 import (
    decoder_service_pb2_grpc,
    encoder_service_pb2_grpc,
    language_model_service_pb2_grpc,
    tensor_pb2,
    worker_service_pb2_grpc,
)
from motet.internal.v1 import encoder_service_pb2 as encoder_pb
from motet.internal.v1 import language_model_service_pb2 as llm_pb
from motet.internal.v1 import worker_service_pb2 as worker_pb
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteLanguageModel, RemoteWorker
from tests.transport.serving import JOB
from tests.waiting import until

LIMIT = 2**20
PROMPT = Prompt((Turn("user", ("hi",)),))


class RawWorker(
    decoder_service_pb2_grpc.DecoderServiceServicer,
    encoder_service_pb2_grpc.EncoderServiceServicer,
    language_model_service_pb2_grpc.LanguageModelServiceServicer,
    worker_service_pb2_grpc.WorkerServiceServicer,
):
    """A worker that sends the given messages, whatever the call."""

    def __init__(self, messages: Iterable[Any]) -> None:
        self.sent = 0
        self.cancelled = False
        self.address = ""
        self._messages = messages

    async def Decode(self, request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            for message in self._messages:
                self.sent += 1
                yield message
                await asyncio.sleep(0)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled = True
            raise

    Generate = WatchCapacity = Decode

    async def Encode(self, request_iterator: Any, context: Any) -> Any:
        return next(iter(self._messages))


@asynccontextmanager
async def raw(messages: Iterable[Any]) -> AsyncIterator[tuple[RawWorker, grpc.aio.Channel]]:
    """Serve a raw worker. Yield it and a channel to it."""
    worker, server = RawWorker(messages), grpc.aio.server()
    decoder_service_pb2_grpc.add_DecoderServiceServicer_to_server(worker, server)
    encoder_service_pb2_grpc.add_EncoderServiceServicer_to_server(worker, server)
    language_model_service_pb2_grpc.add_LanguageModelServiceServicer_to_server(worker, server)
    worker_service_pb2_grpc.add_WorkerServiceServicer_to_server(worker, server)
    worker.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    try:
        async with open_channel(worker.address) as channel:
            yield worker, channel
    finally:
        await server.stop(None)


def decoded(*events: Any) -> decoder_pb.DecodeResponse:
    return decoder_pb.DecodeResponse(events=events)


def media(size: int, data: bytes = b"") -> decoder_pb.DecodeResponse.Event:
    header = decoder_pb.DecodeResponse.Media(media_type="x/y", size_bytes=size, sha256=sha256(b"").digest(), data=data)
    return decoder_pb.DecodeResponse.Event(media=header)


def chunk(size: int = CHUNK_BYTES) -> decoder_pb.DecodeResponse.Event:
    return decoder_pb.DecodeResponse.Event(chunk=bytes(size))


PROGRESS = decoder_pb.DecodeResponse.Event(progress=decoder_pb.DecodeResponse.Progress(step=1, total_steps=2))

ENDLESS: dict[str, Callable[[], Iterator[Any]]] = {
    "chunks before a header": lambda: itertools.repeat(decoded(chunk())),
    "chunks after a small header": lambda: itertools.chain([decoded(media(10**5))], itertools.repeat(decoded(chunk()))),
    "empty chunks": lambda: itertools.chain([decoded(media(10**5))], itertools.repeat(decoded(chunk(0)))),
    "headers": lambda: itertools.repeat(decoded(media(10**5, b"x"))),
    "a header of too many bytes": lambda: itertools.repeat(decoded(media(LIMIT + 1))),
    "progress after the header": lambda: itertools.chain([decoded(media(10**5))], itertools.repeat(decoded(PROGRESS))),
    "messages without events": lambda: itertools.repeat(decoded()),
    "events without a content": lambda: itertools.repeat(decoded(decoder_pb.DecodeResponse.Event())),
}


@pytest.mark.parametrize("kind", ENDLESS)
async def test_a_decoder_that_sends_without_end_is_cancelled_at_a_bound(kind: str) -> None:
    async with raw(ENDLESS[kind]()) as (worker, channel):
        with pytest.raises(FaultError, match="the image decoder sen"):
            async for _ in RemoteDecoder(channel, LIMIT).decode(JOB, Deadline.after(30)):
                pass
        await until(lambda: worker.cancelled)

        assert worker.sent < 5000


async def test_a_message_over_the_limit_is_the_fault_of_its_sender() -> None:
    async with raw([decoded(chunk(5 * LIMIT))]) as (_, channel):
        with pytest.raises(FaultError, match="the image decoder sent a message that is larger than 4 MiB"):
            await anext(RemoteDecoder(channel, LIMIT).decode(JOB, Deadline.after(30)))
    large = replace(JOB, conditioning=Tensor("uint8", (5 * LIMIT,), bytes(5 * LIMIT)))
    async with raw([]) as (_, channel):
        with pytest.raises(RequestError):
            await anext(RemoteDecoder(channel, LIMIT).decode(large, Deadline.after(30)))


@pytest.mark.parametrize("message", [llm_pb.GenerateResponse(), llm_pb.GenerateResponse(events=[llm_pb.Event()])])
async def test_a_language_model_that_sends_nothing_without_end_is_cancelled_at_a_bound(message: Any) -> None:
    async with raw(itertools.repeat(message)) as (worker, channel):
        with pytest.raises(FaultError, match="too many messages"):
            async for _ in RemoteLanguageModel(channel).generate(PROMPT, Deadline.after(30)):
                pass
        await until(lambda: worker.cancelled)


async def test_an_invalid_tensor_of_a_worker_is_the_workers_fault() -> None:
    tensor = tensor_pb2.Tensor(dtype="float32", shape=[3], data=b"1")
    signal = llm_pb.GenerateResponse(
        events=[llm_pb.Event(signal=llm_pb.Event.Signal(modality="image", conditioning=tensor))]
    )
    async with raw([signal]) as (_, channel):
        with pytest.raises(FaultError, match="the language model sent an invalid tensor"):
            await anext(RemoteLanguageModel(channel).generate(PROMPT, Deadline.after(30)))
    async with raw([encoder_pb.EncodeResponse(embeddings=[tensor])]) as (_, channel):
        with pytest.raises(FaultError, match="the encoder returned an invalid embedding"):
            await RemoteEncoder(channel).encode([Media("image/png", b"x")], Deadline.after(30))


async def test_load_reports_without_end_are_read_slowly() -> None:
    async with raw(itertools.repeat(worker_pb.WatchCapacityResponse(slots=1))) as (_, channel):
        loop = asyncio.get_running_loop()
        began, loads = loop.time(), RemoteWorker(channel).watch_load()
        for _ in range(10):
            await anext(loads)
        await loads.aclose()  # type: ignore[attr-defined]

        assert loop.time() - began >= 9 * 0.02
