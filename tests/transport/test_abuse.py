"""One connection that abuses HTTP/2 does not harm the calls of others."""

from __future__ import annotations

import asyncio
import sys

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from motet.core.errors import Reason, RetryableError
from motet.core.media import Media
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder
from motet.transport.server import Server
from tests.transport.raw_http2 import NO_WINDOW, SETTINGS, call, connected, frame, reset_call
from tests.transport.serving import decoded

DECODER_PROCESS = """
import asyncio
from motet.toys.workers import ToyDecoder
from motet.transport.server import Server
from services.decoder.servicer import DecoderServicer

asyncio.run(Server([DecoderServicer(ToyDecoder())]).run(0, lambda server: print(server.address, flush=True)))
"""


async def test_calls_succeed_while_another_connection_opens_and_resets_calls_as_fast_as_it_can() -> None:
    # The server has a process of its own: in this one, the flood and the server would take turns.
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DECODER_PROCESS, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().strip()
    resets = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal resets
        while True:
            calls = range(resets, resets + 200)
            writer.write(
                b"".join(reset_call(2 * call + 1, "/motet.internal.v1.DecoderService/Decode") for call in calls)
            )
            await writer.drain()
            await asyncio.sleep(0.005)
            resets += 200

    async with connected(address) as writer, open_channel(address, retries=False) as channel:
        flooding = asyncio.create_task(flood(writer))
        decoder = RemoteDecoder(channel)
        while resets < 20_000:
            results = await asyncio.gather(*(decoded(decoder) for _ in range(5)), return_exceptions=True)
            assert [result for result in results if not isinstance(result, Media)] == []
        flooding.cancel()
    process.terminate()
    assert await process.wait() == 0


async def test_a_call_that_was_cancelled_by_no_caller_is_retryable() -> None:
    async def drop(request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        await context.abort(grpc.StatusCode.CANCELLED)

    handler = grpc.method_handlers_generic_handler(
        "motet.internal.v1.DecoderService", {"Decode": grpc.unary_stream_rpc_method_handler(drop)}
    )
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with open_channel(f"127.0.0.1:{port}") as channel:
        with pytest.raises(RetryableError, match="dropped the call; try again") as caught:
            await decoded(RemoteDecoder(channel))
    await server.stop(None)

    assert caught.value.reason is Reason.WORKER_LOST


async def test_a_health_watcher_that_reads_nothing_does_not_keep_the_health_from_changing() -> None:
    async with Server([]) as server, connected(server.address) as writer, open_channel(server.address) as channel:
        writer.write(frame(SETTINGS, 0, 0, NO_WINDOW))
        writer.write(call(1, "/grpc.health.v1.Health/Watch"))
        health = health_pb2_grpc.HealthStub(channel)
        while not server._health._watcher_count_by_service:
            await health.Check(health_pb2.HealthCheckRequest())
        async with asyncio.timeout(90):
            await server.drain()
        response = await health.Check(health_pb2.HealthCheckRequest())

    assert response.status == health_pb2.HealthCheckResponse.NOT_SERVING
