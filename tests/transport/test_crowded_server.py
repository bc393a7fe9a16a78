"""Tests of a server with more calls than it can start at once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from motet.scheduling import call_turns
from motet.transport.channel import open_channel
from motet.transport.server import Server
from motet.v1 import model_service_pb2 as pb
from motet.v1 import model_service_pb2_grpc
from services.orchestrator.servicer import ModelServicer
from tests.orchestrator.pipeline_harness import orchestrator_of
from tests.transport.access.keys import KeyRing, bearer


async def test_a_call_is_answered_before_most_calls_that_another_tenant_made_earlier(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # gRPC accepts calls faster than they start, also on a loaded machine. So they wait for their turns.
    monkeypatch.setattr(call_turns, "_INTERVAL", 0.02)
    keys, calls = KeyRing(), 60
    greedy, modest = keys.key_of("greedy"), keys.key_of("modest")
    left: list[int] = []
    async with (
        orchestrator_of() as orchestrator,
        Server([ModelServicer(orchestrator.for_caller)], authentication=keys.authentication()) as server,
        open_channel(server.address) as first,
        open_channel(server.address) as second,
        open_channel(server.address) as third,
    ):
        channels = (first, second)
        await asyncio.gather(*(call(channel, modest) for channel in (first, second, third)))
        running = {asyncio.create_task(call(channels[number % 2], greedy)) for number in range(calls)}
        for task in running:
            task.add_done_callback(lambda _: left.append(1))
        await asyncio.sleep(0)
        await call(third, modest)
        answered = len(left)
        await asyncio.gather(*running)

    assert answered < calls * 0.6, "the call waits only until gRPC has accepted the earlier ones"


async def test_no_call_is_dropped_while_many_wait_to_be_accepted() -> None:
    connections, calls = 6, 250
    async with AsyncExitStack() as stack:
        orchestrator = await stack.enter_async_context(orchestrator_of())
        server = await stack.enter_async_context(Server([ModelServicer(orchestrator.for_caller)]))
        channels = [await stack.enter_async_context(open_channel(server.address)) for _ in range(connections)]
        await asyncio.gather(*(call(channel) for channel in channels))

        await asyncio.gather(*(call(channel) for channel in channels for _ in range(calls)))


async def call(channel, key: str = "") -> None:
    """Make a call that must succeed."""
    stub = model_service_pb2_grpc.ModelServiceStub(channel)
    await stub.ListModels(pb.ListModelsRequest(), metadata=bearer(key) if key else (), timeout=60)
