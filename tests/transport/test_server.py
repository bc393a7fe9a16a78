"""A server's life: binding, health, admission, draining."""

from __future__ import annotations

import asyncio
import signal
import sys
import urllib.request

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from motet.core.capacity import Load
from motet.core.deadline import Deadline
from motet.core.errors import MotetError, OverloadedError, Reason, SettingsError
from motet.core.media import Media
from motet.internal.v1 import (
    decoder_service_pb2,
    decoder_service_pb2_grpc,
    encoder_service_pb2,
    encoder_service_pb2_grpc,
)
from motet.toys.workers import Pause, ToyDecoder, ToyEncoder, Trouble
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


async def made(decoder: RemoteDecoder) -> Media:
    """What comes of the job."""
    *_, last = [event async for event in decoder.decode(JOB, Deadline.after(5))]
    assert isinstance(last, Media)
    return last


def details_of(error: grpc.aio.AioRpcError, kind: type) -> list:
    """The details of one kind in a status."""
    trailers = dict(error.trailing_metadata() or ())
    found = []
    for detail in status_pb2.Status.FromString(trailers[DETAILS_KEY]).details:
        message = kind()
        if detail.Unpack(message):
            found.append(message)
    return found


async def test_a_port_in_use_is_refused_naming_the_address() -> None:
    async with Server([]) as first:
        with pytest.raises(SettingsError, match=rf"{first.address} is in use") as caught:
            await Server([], address=first.address).start()

    assert caught.value.reason is Reason.ADDRESS_IN_USE


async def test_a_metrics_port_in_use_is_refused_naming_the_address() -> None:
    async with Server([]) as first:
        with pytest.raises(SettingsError, match=rf"{first.address} is in use"):
            await Server([], metrics=first.address).start()


async def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(SettingsError, match="write HOST:PORT"):
        await Server([], address="nonsense").start()


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.test:1", ":1"])
def test_plain_text_beyond_this_machine_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="can be reached from the network"):
        check_local(address)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "localhost:1", "127.8.9.1:1", "unix:/run/x"])
def test_plain_text_on_this_machine_is_served(address: str) -> None:
    check_local(address)


async def test_plain_text_is_served_anywhere_when_asked_for_in_words() -> None:
    with pytest.raises(SettingsError):
        await Server([], address="0.0.0.0:0").start()
    async with Server([], address="0.0.0.0:0", insecure_anywhere=True) as server:
        assert not server.address.endswith(":0")


async def test_health_names_each_service_and_no_other() -> None:
    async with served(ToyDecoder()) as (_, channel):
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", "motet.internal.v1.DecoderService", "motet.internal.v1.WorkerService"):
            answer = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert answer.status == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Check(health_pb2.HealthCheckRequest(service="motet.internal.v1.EncoderService"))

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_who_watches_health_sees_a_drain_begin() -> None:
    async with served(ToyDecoder()) as (server, channel):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == SERVING
        await server.drain(1)
        assert (await watch.read()).status == NOT_SERVING
        watch.cancel()


async def test_a_drain_finishes_what_has_begun_and_refuses_what_has_not() -> None:
    async with served(ToyDecoder(delay=0.15)) as (server, channel):
        decoder = RemoteDecoder(channel)
        begun = asyncio.create_task(made(decoder))
        await until(lambda: server.limiter.load.running == 1)

        drained = asyncio.create_task(server.drain(5))
        await until(lambda: server.limiter.load.draining)
        with pytest.raises(MotetError) as caught:
            await made(decoder)

        assert caught.value.reason is Reason.DRAINING
        assert isinstance(await begun, Media)
        assert await drained == 0


async def test_a_drain_gives_up_after_its_grace() -> None:
    async with served(ToyDecoder(trouble=Trouble(Pause()))) as (server, channel):
        begun = asyncio.create_task(made(RemoteDecoder(channel)))
        await until(lambda: server.limiter.load.running == 1)

        assert await server.drain(0.05) == 1
        await server.stop()

        with pytest.raises(MotetError) as caught:
            await begun
        assert caught.value.reason in (Reason.WORKER_UNAVAILABLE, Reason.WORKER_LOST)


async def test_a_drain_waits_for_work_that_has_outlived_its_call() -> None:
    finished = []

    async def finish() -> None:
        await asyncio.sleep(0.05)
        finished.append(True)

    async with served(finish=finish) as (server, _):
        assert await server.drain(5) == 0
        assert finished == [True]
        assert await server.drain(0.001) == 1


async def test_a_drained_server_stops_for_all_its_watchers(monkeypatch: pytest.MonkeyPatch) -> None:
    # Nothing is on its way out, so nothing is waited for, however long it could be.
    monkeypatch.setattr("motet.transport.server._FLUSH_TIMEOUT", 3600.0)
    async with served(ToyDecoder()) as (server, channel):
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=""))
        assert (await watch.read()).status == SERVING
        loads = RemoteWorker(channel).watch_load()
        await anext(loads)
        assert isinstance(await made(RemoteDecoder(channel)), Media)
        async with asyncio.timeout(10):
            await server.drain()
            await server.stop()

        with pytest.raises(MotetError):
            [load async for load in loads]


async def test_answers_that_are_on_their_way_when_a_drain_is_over_arrive_whole() -> None:
    async with served(ToyEncoder(width=2**16, delay=0.2)) as (server, channel):
        item = Media("", b"x")
        begun = [asyncio.create_task(RemoteEncoder(channel).encode([item], Deadline.never())) for _ in range(8)]
        await until(lambda: server.limiter.load.running == 8)
        await server.drain()
        await server.stop()

        assert [answer.shape for (answer,) in await asyncio.gather(*begun)] == [(2**16,)] * 8


async def test_a_worker_can_be_drained_from_afar_and_stays_to_say_so() -> None:
    async with served(ToyDecoder()) as (_, channel):
        worker = RemoteWorker(channel)

        assert await worker.drain(1) == 0
        assert await worker.drain() == 0

        loads = worker.watch_load()
        assert await anext(loads) == Load(draining=True, bundle_digest="sha256:toy")
        await loads.aclose()
        health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=""))
        assert health.status == NOT_SERVING


async def test_capacity_is_told_after_each_change() -> None:
    async with served(ToyDecoder(delay=0.05), limiter=ConcurrencyLimiter(1, 1)) as (_, channel):
        loads = RemoteWorker(channel).watch_load()
        assert await anext(loads) == Load(limit=2, slots=1, bundle_digest="sha256:toy")
        begun = asyncio.create_task(made(RemoteDecoder(channel)))
        seen = [await anext(loads) for _ in range(2)]
        await begun
        await loads.aclose()

    assert Load(running=1, limit=2, slots=1, bundle_digest="sha256:toy") in seen
    assert seen[-1].queued == 0


async def test_a_full_worker_refuses_at_once_and_says_when_to_come_back() -> None:
    toy = ToyDecoder(trouble=Trouble(Pause()))
    async with served(toy, limiter=ConcurrencyLimiter(1, 1)) as (server, channel):
        decoder = RemoteDecoder(channel)
        tasks = [asyncio.create_task(made(decoder)) for _ in range(2)]
        await until(lambda: server.limiter.load == Load(1, 1, 2, slots=1))

        began = asyncio.get_running_loop().time()
        with pytest.raises(OverloadedError) as caught:
            await made(decoder)
        assert asyncio.get_running_loop().time() - began < 0.5
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await until(lambda: server.limiter.load == Load(limit=2, slots=1))

    assert caught.value.reason is Reason.QUEUE_FULL
    assert 0 < caught.value.retry_after <= 60
    assert toy.running == 0


async def test_a_status_holds_one_error_info_and_overload_a_retry_info() -> None:
    async with served(ToyDecoder(trouble=Trouble(Pause())), limiter=ConcurrencyLimiter(1, 0)) as (server, channel):
        task = asyncio.create_task(made(RemoteDecoder(channel)))
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


async def test_a_message_that_breaks_the_contract_is_refused_field_by_field() -> None:
    toy = ToyDecoder()
    async with served(toy) as (_, channel):
        request = decoder_service_pb2.DecodeRequest(modality="x" * 33, conditioning={"dtype": "float8"}, steps=-1)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await decoder_service_pb2_grpc.DecoderServiceStub(channel).Decode(request).read()

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    (bad,) = details_of(caught.value, error_details_pb2.BadRequest)
    assert {one.field for one in bad.field_violations} == {"modality", "conditioning.dtype", "steps"}
    assert [info.reason for info in details_of(caught.value, error_details_pb2.ErrorInfo)] == ["INVALID_REQUEST"]
    assert not toy.seen


@pytest.mark.parametrize("frames", [[{"chunk": b"x"}], [{}], [{"header": {}}, {"chunk": b""}]])
async def test_each_message_of_a_clients_stream_is_held_to_the_contract(frames: list[dict]) -> None:
    toy = ToyEncoder()
    async with served(toy) as (_, channel):
        stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.Encode(iter([encoder_service_pb2.EncodeRequest(**frame) for frame in frames]))

    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not toy.seen


async def test_metrics_tell_each_call_by_method_and_outcome() -> None:
    async with served(ToyDecoder("smell"), metrics="127.0.0.1:0") as (server, channel):
        with pytest.raises(MotetError):
            await made(RemoteDecoder(channel))
        assert server._metrics is not None
        url = f"http://{server._metrics.address}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())

    method = "/motet.internal.v1.DecoderService/Decode"
    assert f'motet_call_duration_seconds_count{{code="INVALID_ARGUMENT",method="{method}"}}' in text
    assert "motet_calls_running 0.0" in text


async def test_reflection_is_there_only_when_asked_for() -> None:
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
raise SystemExit(asyncio.run(server.run(5, lambda bound: print(bound.address, flush=True))))
"""


async def test_sigterm_finishes_what_has_begun_and_exits_with_zero() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", PROCESS, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().strip()
    async with open_channel(address) as channel:
        events = RemoteDecoder(channel).decode(JOB, Deadline.after(10))
        await anext(events)
        process.send_signal(signal.SIGTERM)
        rest = [event async for event in events]

    assert isinstance(rest[-1], Media)
    assert await process.wait() == 0


async def test_a_second_signal_ends_the_process_at_once() -> None:
    code = PROCESS.replace("delay=0.2", "trouble=Trouble(Pause(60), after=1)").replace(
        "workers import", "workers import Pause, Trouble,"
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
