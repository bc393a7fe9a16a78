"""Callers of the orchestrator that read their events and downloads late or never."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from motet.client import Client
from motet.core.errors import Reason, RetryableError
from motet.core.events import State
from motet.core.media import Media
from motet.toys.workers import InjectedFault, Pause, ToyDecoder
from motet.transport import convert
from motet.transport.bounds.limits import CallLimits
from motet.transport.server import Server
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer
from tests.callers import for_anyone
from tests.orchestrator.event_grammar import check_events
from tests.orchestrator.pipeline_harness import orchestrator_of, request_of, script_of, signal_run, toy_decoders
from tests.transport.raw_http2 import connected, unread_calls
from tests.waiting import until

SCRIPT = script_of(*[signal_run("a")] * 4)
GENERATE = "/motet.v1.GenerationService/Generate"
SLOW = CallLimits(send_timeout=0.2)


@asynccontextmanager
async def deployed(decoder: ToyDecoder | None = None) -> AsyncIterator[tuple[Any, Server]]:
    """Yield an orchestrator whose answers have 4 MB of media by default, and its server."""
    orchestrator = orchestrator_of(SCRIPT, toy_decoders(a=decoder or ToyDecoder(size=1_000_000)))
    motet = for_anyone(orchestrator)
    servicers = [GenerationServicer(motet), ArtifactServicer(motet), ModelServicer(motet)]
    async with Server(servicers, call_limits=SLOW) as server:
        yield orchestrator, server


async def pause(server: Server) -> None:
    """Read nothing until the server has stopped a stream."""
    stalled = server._interceptor._calls.send_timer._due
    await until(lambda: bool(stalled))
    await until(lambda: not stalled)


@pytest.mark.parametrize(("detach", "state"), [(False, State.CANCELLED), (True, State.RUNNING)])
async def test_a_generation_whose_caller_reads_nothing_is_cancelled_unless_it_is_detached(
    detach: bool, state: State
) -> None:
    async with deployed(ToyDecoder(fault=InjectedFault(Pause()))) as (orchestrator, server):
        async with connected(server.address) as writer:
            request = convert.request_to_proto(replace(request_of(), detach=detach))
            writer.write(unread_calls(GENERATE, request.SerializeToString()))
            await pause(server)
            await until(lambda: orchestrator.running == detach)

            (record,), _ = await orchestrator.generations()
            assert record.state is state
            assert server._interceptor._open_calls.total == 1
        await orchestrator.aclose()


async def test_the_client_continues_a_detached_generation_and_a_watch_after_a_long_pause() -> None:
    async with deployed() as (_, server), Client(server.address) as client:
        events = []
        async for event in client.generate(replace(request_of(), detach=True)):
            if not events:
                await pause(server)
            events.append(event)
        check_events(events)
        name = events[0].payload.generation

        watched = []
        async for event in client.watch(name):
            if not watched:
                await pause(server)
            watched.append(event)
        assert watched == events


async def test_a_caller_of_a_generation_that_is_not_detached_gets_the_reason() -> None:
    async with deployed() as (_, server), Client(server.address) as client:
        events = client.generate(request_of())
        await anext(events)
        await pause(server)
        with pytest.raises(RetryableError, match="not read for too long") as caught:
            [event async for event in events]

    assert caught.value.reason is Reason.SLOW_READER


async def test_the_client_continues_a_download_after_a_long_pause() -> None:
    async with deployed() as (orchestrator, server), Client(server.address) as client:
        data = b"a" + bytes(range(256)) * 8000
        artifact = await orchestrator.upload(Media("x/a", data))
        received = b""
        async for chunk in client.download(artifact.name):
            if not received:
                await pause(server)
            received += chunk

    assert received == data
