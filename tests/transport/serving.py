"""Servers of workers on free ports, for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain
from typing import Any

import grpc.aio

from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Decoder, Encoder, LanguageModel
from motet.transport.channel import open_channel
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.server import Server
from services.capacity_servicer import CapacityServicer
from services.decoder.servicer import DecoderServicer
from services.encoder.servicer import EncoderServicer
from services.llm.servicer import LanguageModelServicer

JOB = DecodeJob("image", Tensor("uint8", (1,), b"1"), seed=1)


@asynccontextmanager
async def served(
    *workers: Any, limiter: ConcurrencyLimiter | None = None, **options: Any
) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    """Serve workers. Yield the server and a channel to it."""
    limiter = limiter or ConcurrencyLimiter()
    servicers = [*chain.from_iterable(map(_servicers, workers)), CapacityServicer(limiter, "sha256:toy")]
    async with Server(servicers, limiter=limiter, **options) as server, open_channel(server.address) as channel:
        yield server, channel


def _servicers(worker: Encoder | LanguageModel | Decoder) -> list[Any]:
    kinds: list[tuple[str, Callable[[Any], Any]]] = [
        ("encode", EncoderServicer),
        ("decode", DecoderServicer),
        ("generate", LanguageModelServicer),
    ]
    return [servicer(worker) for method, servicer in kinds if hasattr(worker, method)]
