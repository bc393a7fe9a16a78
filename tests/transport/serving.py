"""Servers of workers on free ports, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any

import grpc.aio

from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Decoder, Encoder, LanguageModel, Progress
from motet.toys.workers import ToyDecoder
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.server import Server
from services.capacity_servicer import CapacityServicer
from services.decoder.servicer import DecoderServicer
from services.encoder.servicer import EncoderServicer
from services.llm.servicer import LanguageModelServicer

JOB = DecodeJob("image", Tensor("uint8", (1,), b"1"), seed=1)


class BlockedDecoder(ToyDecoder):
    """A decoder that starts no job before `may_start` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.may_start = asyncio.Event()

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        await self.may_start.wait()
        async for event in super().decode(job, deadline):
            yield event


@asynccontextmanager
async def served(
    *workers: Any, limiter: ConcurrencyLimiter | None = None, bundle_digest: str = "", **options: Any
) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    """Serve workers. Yield the server and a channel to it."""
    limiter = limiter or ConcurrencyLimiter()
    servicers = [*chain.from_iterable(map(servicers_of, workers)), CapacityServicer(limiter, bundle_digest)]
    async with Server(servicers, limiter=limiter, **options) as server, open_channel(server.address) as channel:
        yield server, channel


def servicers_of(worker: Encoder | LanguageModel | Decoder) -> list[Any]:
    """Return the servicers of a worker."""
    kinds: list[tuple[str, Callable[[Any], Any]]] = [
        ("encode", EncoderServicer),
        ("decode", DecoderServicer),
        ("generate", LanguageModelServicer),
    ]
    return [servicer(worker) for method, servicer in kinds if hasattr(worker, method)]


async def decoded(decoder: RemoteDecoder) -> Media:
    """Return the media of a job."""
    *_, last = [event async for event in decoder.decode(JOB, Deadline.after(30))]
    assert isinstance(last, Media)
    return last
