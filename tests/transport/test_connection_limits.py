"""Connections that start nothing, do nothing or answer nothing are closed, on raw sockets."""

from __future__ import annotations

import asyncio

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from motet.core.errors import Reason
from motet.transport.bounds.limits import MAX_METADATA_BYTES, ConnectionLimits
from motet.transport.channel import open_channel
from motet.transport.server import Server
from motet.transport.status import error_from_rpc
from tests.transport.raw_http2 import PREFACE, SETTINGS, call, frame

WATCH = "/grpc.health.v1.Health/Watch"


async def wait_closed(server: Server, sent: bytes) -> None:
    """Send bytes over a new connection, and wait until the server closes it. Answer nothing."""
    host, _, port = server.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent)
    try:
        async with asyncio.timeout(20):
            while await reader.read(2**16):
                pass
    finally:
        writer.close()


@pytest.mark.parametrize("sent", [b"", PREFACE[:10]])
async def test_a_connection_that_does_not_start_http2_is_closed(sent: bytes) -> None:
    async with Server([], connection_limits=ConnectionLimits(handshake_timeout=0.2)) as server:
        await wait_closed(server, sent)


async def test_a_connection_without_a_call_is_closed() -> None:
    async with Server([], connection_limits=ConnectionLimits(idle_timeout=0.2)) as server:
        await wait_closed(server, PREFACE + frame(SETTINGS, 0, 0))


async def test_a_connection_that_answers_no_ping_is_closed_also_with_an_open_call() -> None:
    limits = ConnectionLimits(ping_interval=0.2, ping_timeout=0.2)
    async with Server([], connection_limits=limits) as server:
        await wait_closed(server, PREFACE + frame(SETTINGS, 0, 0) + call(1, WATCH))


async def test_metadata_up_to_the_limit_are_accepted_and_larger_ones_are_a_clear_error() -> None:
    async with Server([]) as server, open_channel(server.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for size in (MAX_METADATA_BYTES - 1000,) * 10:
            await health.Check(health_pb2.HealthCheckRequest(), metadata=(("x", "x" * size),))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(), metadata=(("x", "x" * MAX_METADATA_BYTES),))
        await health.Check(health_pb2.HealthCheckRequest())

    error = error_from_rpc(caught.value)
    assert (error.reason, caught.value.code()) == (Reason.INPUT_TOO_LARGE, grpc.StatusCode.RESOURCE_EXHAUSTED)
    assert "the metadata of the call to the service, such as a token, are larger than 16 KiB" in error.message
