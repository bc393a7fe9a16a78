"""Tests of the server: binding, health, admission, draining."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator

import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY

from motet.core.errors import MotetError, OverloadedError, Reason, SettingsError
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.workers import Load
from motet.internal.v1 import (
    decoder_service_pb2,
    decoder_service_pb2_grpc,
    encoder_service_pb2,
    encoder_service_pb2_grpc,
)
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder
from motet.transport.address import check_exposed
from motet.transport.clients import RemoteDecoder, RemoteWorker
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.metrics_server import MetricsServer
from motet.transport.server import Server
from motet.transport.status import DETAILS_KEY
from tests.transport.serving import BlockedDecoder, decoded, served
from tests.waiting import until

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


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
            await MetricsServer(first.address, ServiceKind.ORCHESTRATOR).__aenter__()


async def test_an_invalid_address_is_refused() -> None:
    with pytest.raises(SettingsError, match="write HOST:PORT"):
        await Server([], address="nonsense").start()


@pytest.mark.parametrize("address", ["0.0.0.0:1", "[::]:1", "10.0.0.1:1", "example.test:1", ":1"])
@pytest.mark.parametrize(
    ("tls", "authenticated", "problem"),
    [
        (False, False, "calls would not be encrypted or authenticated"),
        (True, False, "calls would not be authenticated"),
        (False, True, "calls would not be encrypted"),
    ],
)
def test_an_address_that_other_machines_can_reach_needs_encryption_and_authentication(
    address: str, tls: bool, authenticated: bool, problem: str
) -> None:
    with pytest.raises(SettingsError, match="can be reached from the network") as caught:
        check_exposed(address, tls=tls, authenticated=authenticated)

    assert problem in caught.value.message
    assert "set --tls-cert, --tls-key and --tls-client-ca, listen at 127.0.0.1, or set --allow" in caught.value.message
    check_exposed(address, tls=True, authenticated=True)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "[::1]:1", "localhost:1", "127.8.9.1:1", "unix:/run/x"])
def test_an_insecure_address_that_only_this_machine_can_reach_is_allowed(address: str) -> None:
    check_exposed(address, tls=False, authenticated=False)


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


async def test_the_load_is_reported_after_each_change() -> None:
    blocked = BlockedDecoder()
    async with served(blocked, limiter=ConcurrencyLimiter(1, 1), bundle_digest="sha256:toy") as (_, channel):
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
    async with asyncio.timeout(90):
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
    running = REGISTRY.get_sample_value("motet_calls_running")  # Limiters of other tests count, too.
    async with (
        served(ToyDecoder("smell")) as (_, channel),
        MetricsServer("127.0.0.1:0", ServiceKind.DECODER) as metrics,
    ):
        with pytest.raises(MotetError):
            await decoded(RemoteDecoder(channel))
        await until(lambda: REGISTRY.get_sample_value("motet_calls_running") == running)
        url = f"http://{metrics.address}/metrics"
        text = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())

    method = "/motet.internal.v1.DecoderService/Decode"
    assert f'motet_call_duration_seconds_count{{code="INVALID_ARGUMENT",method="{method}"}}' in text
    assert f"motet_calls_running {running}" in text
