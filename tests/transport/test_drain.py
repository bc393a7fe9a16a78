"""Tests of the end of a server: draining, signals, and what running calls get."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from motet.core.deadline import Deadline
from motet.core.errors import MotetError, Reason, RetryableError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import Load
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteWorker
from tests.transport.serving import JOB, BlockedDecoder, decoded, served
from tests.waiting import until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class BlockedEncoder(ToyEncoder):
    """An encoder that encodes nothing before `may_start` is set."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.may_start = asyncio.Event()

    async def encode(self, media: Sequence[Media], deadline: Deadline, **caller: Any) -> list[Tensor]:
        await self.may_start.wait()
        return await super().encode(media, deadline, **caller)


async def test_a_health_watcher_receives_not_serving_when_a_drain_starts() -> None:
    async with served(ToyDecoder()) as (server, channel):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == SERVING
        await server.drain(1)
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()


async def test_a_drain_completes_running_calls_and_refuses_new_calls() -> None:
    blocked = BlockedDecoder()
    async with served(blocked) as (server, channel):
        decoder = RemoteDecoder(channel)
        running = asyncio.create_task(decoded(decoder))
        await until(lambda: server.limiter.load.running == 1)

        drain = asyncio.create_task(server.drain(30))
        await until(lambda: server.limiter.load.draining)
        with pytest.raises(MotetError) as caught:
            await decoded(decoder)

        assert caught.value.reason is Reason.DRAINING
        blocked.may_start.set()
        assert isinstance(await running, Media)
        assert await drain == 0


async def test_a_drain_ends_after_its_grace() -> None:
    async with served(ToyDecoder(fault=InjectedFault(Pause()))) as (server, channel):
        running = asyncio.create_task(decoded(RemoteDecoder(channel)))
        await until(lambda: server.limiter.load.running == 1)

        assert await server.drain(0.05) == 1
        await server.stop()

        with pytest.raises(MotetError) as caught:
            await running
        assert caught.value.reason in (Reason.WORKER_UNAVAILABLE, Reason.WORKER_LOST)


async def test_a_drain_waits_for_work_that_outlives_its_call() -> None:
    finished = []

    async def finish() -> None:
        await asyncio.sleep(0.05)
        finished.append(True)

    async with served(finish=finish) as (server, _):
        assert await server.drain(30) == 0
        assert finished == [True]
        assert await server.drain(0.001) == 1


async def test_a_drained_server_stops_at_once_and_ends_its_watchers_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    # All responses are sent, so the server does not wait for the timeout.
    monkeypatch.setattr("motet.transport.server._FLUSH_TIMEOUT", 3600.0)
    async with served(ToyDecoder()) as (server, channel):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == SERVING
        loads = RemoteWorker(channel).watch_load()
        await anext(loads)
        assert isinstance(await decoded(RemoteDecoder(channel)), Media)
        async with asyncio.timeout(90):
            await server.drain()
            await server.stop()

        with pytest.raises(MotetError):
            [load async for load in loads]


async def test_responses_that_are_being_sent_at_the_end_of_a_drain_arrive_complete(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("motet.transport.server._FLUSH_TIMEOUT", 30.0)
    blocked = BlockedEncoder(width=2**16)
    async with served(blocked) as (server, channel):
        encoder = RemoteEncoder(channel)
        running = [asyncio.create_task(encoder.encode([Media("", b"x")], Deadline.never())) for _ in range(8)]
        await until(lambda: server.limiter.load.running == 8)
        blocked.may_start.set()
        await server.drain()
        await server.stop()

        assert [embedding.shape for (embedding,) in await asyncio.gather(*running)] == [(2**16,)] * 8


async def test_a_remotely_drained_worker_admits_no_call_and_still_reports_its_load_and_health() -> None:
    async with served(ToyDecoder(), bundle_digest="sha256:toy") as (_, channel):
        worker = RemoteWorker(channel)

        assert await worker.drain(1) == 0
        assert await worker.drain() == 0
        with pytest.raises(RetryableError, match="admits no call until it is restarted"):
            await decoded(RemoteDecoder(channel))

        loads = worker.watch_load()
        assert await anext(loads) == Load(draining=True, bundle_digest="sha256:toy")
        await loads.aclose()
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""))
        assert health.status == NOT_SERVING


PROCESS = """
import asyncio
from motet.toys.workers import ToyDecoder
from motet.transport.server import Server
from services.decoder.servicer import DecoderServicer

server = Server([DecoderServicer(ToyDecoder(delay=0.2))])
raise SystemExit(asyncio.run(server.run(30, lambda server: print(server.address, flush=True))))
"""


async def test_sigterm_completes_running_calls_and_exits_with_zero() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().strip()
    async with open_channel(address) as channel:
        events = RemoteDecoder(channel).decode(JOB, Deadline.after(30))
        await anext(events)
        process.send_signal(signal.SIGTERM)
        remaining = [event async for event in events]

    assert isinstance(remaining[-1], Media)
    assert await process.wait() == 0


async def test_a_second_signal_ends_the_grace_period_and_running_calls_end_with_a_retryable_error() -> None:
    code = PROCESS.replace("delay=0.2", "fault=InjectedFault(Pause(60), after=1)").replace(
        "workers import", "workers import Pause, InjectedFault,"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().strip()

    async with open_channel(address) as channel:
        events = RemoteDecoder(channel).decode(JOB, Deadline.after(30))
        await anext(events)
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == SERVING
        process.send_signal(signal.SIGINT)
        assert (await watch.read()).status == NOT_SERVING
        process.send_signal(signal.SIGINT)
        with pytest.raises(RetryableError) as caught:
            await anext(events)
        _, errors = await process.communicate()

    assert caught.value.reason is Reason.DRAINING
    assert (process.returncode, errors) == (1, b"")


async def test_a_third_signal_ends_the_process_even_if_its_event_loop_hangs() -> None:
    code = PROCESS.replace("Decoder(delay=0.2))]", "Decoder())], finish=asyncio.Event().wait, interrupt=hang").replace(
        "server =", "def hang():\n    print('hangs', flush=True)\n    time.sleep(60)\n\nserver ="
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import time\n{code}", stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().strip()

    async with open_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == SERVING
        process.send_signal(signal.SIGINT)
        assert (await watch.read()).status == NOT_SERVING
        process.send_signal(signal.SIGINT)
        assert await process.stdout.readline() == b"hangs\n"
        process.send_signal(signal.SIGINT)
        assert await process.wait() == -signal.SIGINT
