"""Tests of the server: binding, health, admission, draining."""

from __future__ import annotations

import asyncio
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from motet.core.deadline import Deadline
from motet.core.errors import MotetError, OverloadedError, Reason, SettingsError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Load, Progress
from motet.internal.v1 import (
    decoder_service_pb2,
    decoder_service_pb2_grpc,
    encoder_service_pb2,
    encoder_service_pb2_grpc,
)
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder
from motet.transport.address import check_local
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteWorker
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.server import Server
from motet.transport.status import DETAILS_KEY
from tests.transport.serving import JOB, served
from tests.waiting import until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class BlockedDecoder(ToyDecoder):
    """A decoder that starts no job before `may_start` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.may_start = asyncio.Event()

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        await self.may_start.wait()
        async for event in super().decode(job, deadline):
            yield event


class BlockedEncoder(ToyEncoder):
    """An encoder that encodes nothing before `may_start` is set."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.may_start = asyncio.Event()

    async def encode(self, media: Sequence[Media], deadline: Deadline, **caller: Any) -> list[Tensor]:
        await self.may_start.wait()
        return await super().encode(media, deadline, **caller)


async def decoded(decoder: RemoteDecoder) -> Media:
    """Return the media of a job."""
    *_, last = [event async for event in decoder.decode(JOB, Deadline.after(30))]
    assert isinstance(last, Media)
    return last


def details_of(error: grpc.aio.AioRpcError, kind: type) -> list:
    """Return the details of one kind in a status."""
    trailers = dict(error.trailing_metadata() or ())
    details = []
    for detail in status_pb2.Status.FromString(trailers[DETAILS_KEY]).details:
        message = kind()
        if detail.Unpack(message):
            details.append(message)
    return details


async def test_a_port_in_use_is_refused_naming_the_address() -> None:
    async with Server([]) as first:
        with pytest.raises(SettingsError, match=rf"{first.address} is in use") as caught:
            await Server([], address=first.address).start()

    assert caught.value.reason is Reason.ADDRESS_IN_USE


async def test_a_metrics_port_in_use_is_refused_naming_the_address() -> None:
    async with Server([]) as first:
        with pytest.raises(SettingsError, match=rf"{first.address} is in use"):
            await Server([], metrics=first.address).start()


async def test_an_invalid_address_is_refused() -> None:
    with pytest.raises(SettingsError, match="write HOST:PORT"):
        await Server([], address="nonsense").start()


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.test:1", ":1"])
def test_an_insecure_address_that_other_machines_can_reach_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="can be reached from the network"):
        check_local(address)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "localhost:1", "127.8.9.1:1", "unix:/run/x"])
def test_an_insecure_address_that_only_this_machine_can_reach_is_allowed(address: str) -> None:
    check_local(address)


async def test_insecure_anywhere_allows_an_insecure_address_on_the_network() -> None:
    with pytest.raises(SettingsError):
        await Server([], address="0.0.0.0:0").start()
    async with Server([], address="0.0.0.0:0", allow_insecure=True) as server:
        assert not server.address.endswith(":0")


async def test_health_is_reported_for_each_service_and_for_no_other() -> None:
    async with served(ToyDecoder()) as (_, channel):
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "motet.internal.v1.DecoderService", "motet.internal.v1.WorkerService"):
            response = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert response.status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="motet.internal.v1.EncoderService"))

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


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
        async with asyncio.timeout(30):
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


async def test_a_remotely_drained_worker_still_reports_its_load_and_health() -> None:
    async with served(ToyDecoder()) as (_, channel):
        worker = RemoteWorker(channel)

        assert await worker.drain(1) == 0
        assert await worker.drain() == 0

        loads = worker.watch_load()
        assert await anext(loads) == Load(draining=True, bundle_digest="sha256:toy")
        await loads.aclose()
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""))
        assert health.status == NOT_SERVING


async def test_the_load_is_reported_after_each_change() -> None:
    blocked = BlockedDecoder()
    async with served(blocked, limiter=ConcurrencyLimiter(1, 1)) as (_, channel):
        loads = RemoteWorker(channel).watch_load()
        assert await anext(loads) == Load(limit=2, slots=1, bundle_digest="sha256:toy")
        running = asyncio.create_task(decoded(RemoteDecoder(channel)))
        changed = await next_load(loads, running=1)
        blocked.may_start.set()
        await running
        ended = await next_load(loads, running=0)
        await loads.aclose()

    assert changed == Load(running=1, limit=2, slots=1, bundle_digest="sha256:toy")
    assert ended.queued == 0


async def next_load(loads: AsyncIterator[Load], running: int) -> Load:
    """Return the next reported load with this number of running calls."""
    async with asyncio.timeout(30):
        async for load in loads:
            if load.running == running:
                return load
    raise AssertionError("the worker stopped")


async def test_a_full_worker_refuses_at_once_with_a_retry_delay() -> None:
    toy = ToyDecoder(fault=InjectedFault(Pause()))
    async with served(toy, limiter=ConcurrencyLimiter(1, 1)) as (server, channel):
        decoder = RemoteDecoder(channel)
        tasks = [asyncio.create_task(decoded(decoder)) for _ in range(2)]
        await until(lambda: server.limiter.load == Load(1, 1, 2, slots=1))

        with pytest.raises(OverloadedError) as caught:
            await decoded(decoder)
        assert server.limiter.load == Load(1, 1, 2, slots=1), "the refused call waited for no other call"
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: server.limiter.load == Load(limit=2, slots=1))

    assert caught.value.reason is Reason.QUEUE_FULL
    assert 0 < caught.value.retry_after <= 60
    assert toy.running == 0


async def test_a_status_has_one_error_info_and_a_retry_info_if_the_worker_is_full() -> None:
    async with served(ToyDecoder(fault=InjectedFault(Pause())), limiter=ConcurrencyLimiter(1, 0)) as (server, channel):
        task = asyncio.create_task(decoded(RemoteDecoder(channel)))
        await until(lambda: server.limiter.load.running == 1)
        request = decoder_service_pb2.DecodeRequest(modality="image", conditioning={"dtype": "uint8"})
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await decoder_service_pb2_grpc.DecoderServiceStub(channel).Decode(request).read()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    (info,) = details_of(caught.value, error_details_pb2.ErrorInfo)
    assert (info.reason, info.domain) == ("QUEUE_FULL", "motet")
    (retry,) = details_of(caught.value, error_details_pb2.RetryInfo)
    assert retry.retry_delay.ToNanoseconds() > 0
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_the_status_of_an_invalid_message_names_every_invalid_field() -> None:
    toy = ToyDecoder()
    async with served(toy) as (_, channel):
        request = decoder_service_pb2.DecodeRequest(modality="x" * 33, conditioning={"dtype": "float8"}, steps=-1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await decoder_service_pb2_grpc.DecoderServiceStub(channel).Decode(request).read()

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (bad,) = details_of(caught.value, error_details_pb2.BadRequest)
    assert {violation.field for violation in bad.field_violations} == {"modality", "conditioning.dtype", "steps"}
    assert [info.reason for info in details_of(caught.value, error_details_pb2.ErrorInfo)] == ["INVALID_REQUEST"]
    assert not toy.seen


@pytest.mark.parametrize("frames", [[{"chunk": b"x"}], [{}], [{"header": {}}, {"chunk": b""}]])
async def test_every_message_of_a_request_stream_is_validated(frames: list[dict]) -> None:
    toy = ToyEncoder()
    async with served(toy) as (_, channel):
        stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Encode(iter([encoder_service_pb2.EncodeRequest(**frame) for frame in frames]))

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not toy.seen


async def test_metrics_count_calls_by_method_and_status_code() -> None:
    async with served(ToyDecoder("smell"), metrics="127.0.0.1:0") as (server, channel):
        with pytest.raises(MotetError):
            await decoded(RemoteDecoder(channel))
        assert server._metrics is not None
        url = f"http://{server._metrics.address}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())

    method = "/motet.internal.v1.DecoderService/Decode"
    assert f'motet_call_duration_seconds_count{{code="INVALID_ARGUMENT",method="{method}"}}' in text
    assert "motet_calls_running 0.0" in text


async def test_reflection_is_served_only_with_the_option() -> None:
    path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    codes = []
    for reflection in (False, True):
        async with served(reflection=reflection) as (_, channel):
            call = channel.stream_stream(path)(iter(()))
            await call.read() if reflection else await asyncio.wait([asyncio.ensure_future(call.code())])
            codes.append(await call.code())

    assert codes == [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.OK]


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


async def test_a_second_signal_ends_the_process_at_once() -> None:
    code = PROCESS.replace("delay=0.2", "fault=InjectedFault(Pause(60), after=1)").replace(
        "workers import", "workers import Pause, InjectedFault,"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
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
        assert await process.wait() == -signal.SIGINT
        with pytest.raises(MotetError):
            await anext(events)
