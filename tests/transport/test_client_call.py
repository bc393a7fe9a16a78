"""Every call on a stub is in `open_stream` or `unary`: gRPC may never cancel a call that is merely dropped."""

from __future__ import annotations

import ast
import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

import motet
from motet.core.errors import OverloadedError, Reason
from motet.internal.v1 import decoder_service_pb2 as decoder_pb
from motet.internal.v1 import decoder_service_pb2_grpc, encoder_service_pb2_grpc
from motet.internal.v1 import encoder_service_pb2 as encoder_pb
from motet.toys.workers import ToyDecoder, ToyEncoder
from motet.transport import convert
from motet.transport.client_call import open_stream, unary
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from tests.transport.serving import JOB, served

SOURCES = [
    path
    for folder in ("motet", "orchestrator", "services")
    for path in (Path(motet.__file__).parents[1] / folder).rglob("*.py")
    if "_pb2" not in path.name and "benchmarks" not in path.parts
]
GUARD_NAMES = {"open_stream", "unary", "stream"}


def stub_calls(function: ast.AST) -> Iterator[str]:
    """Yield the names of the methods of a stub that a function calls or passes on, such as `self._stub.Encode`."""
    for node in ast.walk(function):
        match node:
            case ast.Attribute(ast.Attribute(ast.Name("self")), name) if name[:1].isupper():
                yield name


def names(function: ast.AST) -> set[str]:
    """Return all names and attributes in a function."""
    return {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(function)}


def test_every_call_on_a_stub_is_guarded() -> None:
    guarded, unguarded = [], []
    for path in SOURCES:
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                calls = list(stub_calls(function))
                functions = guarded if names(function) & GUARD_NAMES else unguarded
                functions.extend(f"{path.name}: {call}" for call in calls)

    assert unguarded == []
    assert len(guarded) >= 12


async def slowly(*messages: Any) -> AsyncIterator[Any]:
    """Yield messages. The event loop stands still before each one, as in a busy process.

    So the status of a refused call arrives before a write, and the event loop sees the status only after the write.
    """
    for message in messages:
        await asyncio.sleep(0)
        time.sleep(0.005)  # noqa: ASYNC251
        yield message


async def encode(channel: grpc.aio.Channel) -> None:
    frames = [encoder_pb.EncodeRequest(header={}), *[encoder_pb.EncodeRequest(chunk=b"x")] * 20]
    await unary(encoder_service_pb2_grpc.EncoderServiceStub(channel).Encode(slowly(*frames)))


async def decode(channel: grpc.aio.Channel) -> None:
    job = decoder_pb.DecodeChunkedRequest(job=convert.decode_job_to_proto(JOB))
    frames = [job, *[decoder_pb.DecodeChunkedRequest(chunk=b"x")] * 20]
    call = decoder_service_pb2_grpc.DecoderServiceStub(channel).DecodeChunked(slowly(*frames))
    async with open_stream(call) as responses:
        await anext(responses)


@pytest.mark.parametrize("call", [encode, decode])
async def test_the_status_of_a_call_that_ends_during_a_write_is_that_of_the_peer(call: Any) -> None:
    limiter = ConcurrencyLimiter(1, 0)
    await limiter.acquire()
    async with served(ToyEncoder(), ToyDecoder(), limiter=limiter) as (_, channel):
        for _ in range(5):
            with pytest.raises(OverloadedError) as caught:
                await call(channel)
            assert caught.value.reason is Reason.QUEUE_FULL
