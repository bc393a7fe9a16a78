"""Callers that do not read their responses, or do not send their requests, hold little and harm no others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from motet.core.deadline import Deadline
from motet.core.errors import MotetError, Reason
from motet.core.media import Media
from motet.core.workers import DecodeJob, Progress
from motet.internal.v1 import decoder_service_pb2 as decoder_pb
from motet.internal.v1 import decoder_service_pb2_grpc as decoder_grpc
from motet.internal.v1 import encoder_service_pb2 as encoder_pb
from motet.internal.v1 import encoder_service_pb2_grpc as encoder_grpc
from motet.internal.v1 import worker_service_pb2 as worker_pb
from motet.internal.v1 import worker_service_pb2_grpc as worker_grpc
from motet.toys.workers import ToyDecoder, ToyEncoder
from motet.transport import convert
from motet.transport.bounds.limits import CallLimits
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.health_reporter import MAX_WATCHES
from motet.transport.server import Server
from motet.transport.status import error_from_rpc
from tests.transport.ended_calls import reasons_of_ended_calls
from tests.transport.raw_http2 import connected, unread_calls
from tests.transport.serving import JOB, decoded, served
from tests.transport.test_server import details_of
from tests.waiting import until

DECODE = "/motet.internal.v1.DecoderService/Decode"
WATCH_CAPACITY = "/motet.internal.v1.WorkerService/WatchCapacity"
REQUEST = convert.decode_job_to_proto(JOB).SerializeToString()


class EndlessDecoder(ToyDecoder):
    """A decoder that yields previews without end in its first call."""

    def __init__(self) -> None:
        super().__init__()
        self.ended = asyncio.Event()

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        if self.seen:
            async for event in super().decode(job, deadline):
                yield event
            return
        self.seen.append(job)
        try:
            for step in range(1, 10**6):
                yield Progress(step, 10**6, Media("image/toy", bytes(2**16)))
        finally:
            self.ended.set()


async def test_a_worker_ends_a_call_whose_caller_reads_nothing_and_serves_the_next_caller() -> None:
    decoder = EndlessDecoder()
    limits = CallLimits(send_timeout=0.2)
    async with served(decoder, limiter=ConcurrencyLimiter(1, 0), call_limits=limits) as (server, channel):
        async with connected(server.address) as writer:
            writer.write(unread_calls(DECODE, REQUEST))
            async with asyncio.timeout(90):
                await decoder.ended.wait()
            await until(lambda: server.limiter.load.running == 0)

            await decoded(RemoteDecoder(channel))
            await until(lambda: server._interceptor._open_calls.total == 1)
        await until(lambda: server._interceptor._open_calls.total == 0)


async def test_a_caller_that_reads_late_gets_the_reason() -> None:
    decoder = EndlessDecoder()
    async with served(decoder, call_limits=CallLimits(send_timeout=0.2)) as (server, channel):
        call = decoder_grpc.DecoderServiceStub(channel).Decode(convert.decode_job_to_proto(JOB))
        async with asyncio.timeout(90):
            await decoder.ended.wait()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                async for _ in call:
                    pass
        await until(lambda: server._interceptor._open_calls.total == 0)

    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert error_of(caught).reason is Reason.SLOW_READER


async def test_a_caller_that_reads_slowly_but_steadily_gets_everything() -> None:
    async with served(ToyDecoder(size=300_000), call_limits=CallLimits(send_timeout=0.5)) as (_, channel):
        call = decoder_grpc.DecoderServiceStub(channel).Decode(convert.decode_job_to_proto(JOB))
        size = 0
        async for response in call:
            size += sum(len(event.chunk) + len(event.media.data) for event in response.events)
            await asyncio.sleep(0.3)

    assert size == 300_000


async def test_a_caller_with_many_open_calls_is_refused_and_another_is_served() -> None:
    limits = CallLimits(open_calls=10)
    async with (
        served(call_limits=limits) as (server, channel),
        open_channel(server.address, retries=False) as other,
    ):
        stub = worker_grpc.WorkerServiceStub(channel)
        calls = [stub.WatchCapacity(worker_pb.WatchCapacityRequest()) for _ in range(6)]
        results = await asyncio.gather(*(call.read() for call in calls), return_exceptions=True)
        refused = [result for result in results if isinstance(result, grpc.aio.AioRpcError)]

        await worker_grpc.WorkerServiceStub(other).WatchCapacity(worker_pb.WatchCapacityRequest()).read()
        for call in calls:
            call.cancel()
        await until(lambda: server._interceptor._open_calls.total <= 1)
        await stub.WatchCapacity(worker_pb.WatchCapacityRequest()).read()

    assert [error.code() for error in refused] == [grpc.StatusCode.RESOURCE_EXHAUSTED]
    assert error_from_rpc(refused[0]).reason is Reason.QUEUE_FULL
    assert details_of(refused[0], error_details_pb2.RetryInfo)


async def test_calls_whose_responses_are_not_read_count_as_open_until_the_connection_closes() -> None:
    async with served(call_limits=CallLimits(open_calls=10, send_timeout=0.05)) as (server, _):
        counts = server._interceptor._open_calls
        async with connected(server.address) as writer:
            writer.write(unread_calls(WATCH_CAPACITY, calls=100))
            await until(lambda: counts.total == 5)
            await asyncio.sleep(0.2)
            assert counts.total == 5
        await until(lambda: counts.total == 0)


async def test_a_connection_has_few_watches_of_the_health_and_takes_none_from_others() -> None:
    async with Server([]) as server, open_channel(server.address) as channel:
        async with connected(server.address) as writer:
            writer.write(unread_calls("/grpc.health.v1.Health/Watch", calls=100))
            watches = server._health._watches_of
            await until(lambda: watches.total() == MAX_WATCHES)
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())

            assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
            assert watches.total() == MAX_WATCHES + 1
        watch.cancel()
        await until(lambda: not watches)


def encoding(channel: grpc.aio.Channel) -> tuple[Any, Any]:
    """Return a call that encodes, and its first message."""
    return encoder_grpc.EncoderServiceStub(channel).Encode(), encoder_pb.EncodeRequest(header={"media_type": "x/a"})


def decoding(channel: grpc.aio.Channel) -> tuple[Any, Any]:
    """Return a call that decodes, and its first message."""
    first = decoder_pb.DecodeChunkedRequest(job=convert.decode_job_to_proto(JOB))
    return decoder_grpc.DecoderServiceStub(channel).DecodeChunked(), first


@pytest.mark.parametrize("start", [encoding, decoding])
async def test_a_request_that_stops_is_ended_and_its_slot_is_free(start: Any) -> None:
    limits = CallLimits(receive_timeout=0.2)
    async with served(ToyEncoder(), ToyDecoder(), limiter=ConcurrencyLimiter(1, 0), call_limits=limits) as (
        server,
        channel,
    ):
        call, first = start(channel)
        await call.write(first)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ended(call)
        await until(lambda: server.limiter.load.running == 0)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert "the request stopped for 0.2 s" in error_of(caught).message


async def test_a_request_that_sends_a_little_now_and_then_is_ended(caplog: pytest.LogCaptureFixture) -> None:
    limits = CallLimits(receive_timeout=0.5, min_receive_rate=1e9)
    async with served(ToyEncoder(), call_limits=limits) as (_, channel):
        call, first = encoding(channel)
        await call.write(first)

        async def trickle() -> None:
            while True:
                await call.write(encoder_pb.EncodeRequest(chunk=b"x"))
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        with pytest.raises(grpc.aio.AioRpcError):
            await ended(call)
        trickling.cancel()
        await asyncio.gather(trickling, return_exceptions=True)
        await until(lambda: reasons_of_ended_calls(caplog) == [Reason.DEADLINE_EXCEEDED])


async def ended(call: Any) -> None:
    """Wait until a call has ended. Raises its error."""
    await (call if isinstance(call, grpc.aio.StreamUnaryCall) else call.read())


def error_of(caught: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> MotetError:
    return error_from_rpc(caught.value)
