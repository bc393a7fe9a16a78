"""Real servers on free ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio

from motet.core.workers import Decoder, Encoder, LanguageModel
from motet.transport.channel import open_channel
from motet.transport.gate import Gate
from motet.transport.server import Server
from services.decoder.servicer import DecoderServicer
from services.encoder.servicer import EncoderServicer
from services.llm.servicer import LanguageModelServicer
from services.worker import WorkerServicer


@asynccontextmanager
async def served(
    *workers: Any, gate: Gate | None = None, **options: Any
) -> AsyncIterator[tuple[Server, grpc.aio.Channel]]:
    """A server of the workers, and a channel to it."""
    gate = gate or Gate()
    servicers = [*map(_servicer, workers), WorkerServicer(gate, "sha256:toy")]
    async with Server(servicers, gate=gate, **options) as server, open_channel(server.address) as channel:
        yield server, channel


def _servicer(worker: Encoder | LanguageModel | Decoder) -> Any:
    kinds: list[tuple[str, Callable[[Any], Any]]] = [
        ("encode", EncoderServicer),
        ("decode", DecoderServicer),
        ("generate", LanguageModelServicer),
    ]
    return next(servicer(worker) for method, servicer in kinds if hasattr(worker, method))


async def until(true: Callable[[], bool]) -> None:
    """Wait until something holds, for ten seconds at most."""
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.002)
