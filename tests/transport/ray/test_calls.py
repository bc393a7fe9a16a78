"""Tests of calls with the messages of Ray. `tests/transport/test_workers.py` has those that every connection passes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import (
    AccessError,
    DeadlineError,
    FaultError,
    MediaError,
    OverloadedError,
    Reason,
    RequestError,
    SettingsError,
)
from motet.core.logs.request_id import current_request_id, request_id_set
from motet.core.media import MEBI, Media
from motet.core.workers import DecodeJob, Progress
from motet.internal.v1 import decoder_service_pb2, worker_service_pb2, worker_service_pb2_grpc
from motet.toys.workers import UNREADABLE, InjectedFault, Pause, ToyDecoder, ToyEncoder
from motet.transport.channel import HOP
from motet.transport.client_call import unary
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteWorker
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.ray.address import address_of, application_of, is_in_ray
from motet.transport.ray.failure import Failure
from tests.transport.ray.local_handle import served_by_ray
from tests.transport.serving import JOB, decoded
from tests.waiting import until

DECODE = "/motet.internal.v1.DecoderService/Decode"


async def answer_of(call: AsyncIterator[bytes | Failure]) -> list[bytes | Failure]:
    return [response async for response in call]


async def failure_of(call: AsyncIterator[bytes | Failure]) -> Exception:
    """Return the error of a call that fails without a response."""
    (failure,) = await answer_of(call)
    assert isinstance(failure, Failure)
    return failure.error


async def test_the_remaining_time_travels_with_the_call() -> None:
    async with served_by_ray(ToyDecoder()) as (handle, channel):
        async for _ in RemoteDecoder(channel).decode(JOB, Deadline.after(30)):
            pass
        async for _ in RemoteDecoder(channel).decode(JOB, Deadline.never()):
            pass

    first, second = handle.seconds
    assert first is not None
    assert 25 < first <= 30 - HOP
    assert second is None


async def test_a_worker_that_keeps_silent_beyond_the_deadline_is_cancelled() -> None:
    decoder = ToyDecoder(fault=InjectedFault(Pause()))
    async with served_by_ray(decoder) as (_, channel):
        with pytest.raises(DeadlineError, match="the worker did not respond in time"):
            async for _ in RemoteDecoder(channel).decode(JOB, Deadline.after(HOP + 0.1)):
                pass

        await until(lambda: decoder.running == 0)


async def test_inputs_larger_than_a_message_of_grpc_arrive() -> None:
    decoder = ToyDecoder()
    job = DecodeJob(JOB.modality, JOB.conditioning, 1, inputs=(Media("a/b", bytes(5 * MEBI)),))
    async with served_by_ray(decoder) as (_, channel):
        events = [event async for event in RemoteDecoder(channel).decode(job, Deadline.after(30))]

    assert isinstance(events[-1], Media)
    assert list(decoder.seen) == [job]


async def test_the_id_of_the_request_is_that_of_the_worker() -> None:
    ids: list[str] = []

    class Recorder(ToyDecoder):
        async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
            ids.append(current_request_id())
            async for event in super().decode(job, deadline):
                yield event

    async with served_by_ray(Recorder()) as (_, channel):
        with request_id_set("abc"):
            await decoded(RemoteDecoder(channel))

    assert ids == ["abc"]


async def test_an_error_keeps_its_class_its_reason_and_its_metadata() -> None:
    async with served_by_ray(ToyEncoder()) as (_, channel):
        with pytest.raises(MediaError) as caught:
            await RemoteEncoder(channel).encode([Media("", b"1"), Media("", UNREADABLE)], Deadline.after(30))

    assert caught.value.reason is Reason.MEDIA_UNREADABLE
    assert caught.value.metadata["index"] == "1"


async def test_the_text_of_an_unexpected_error_stays_in_the_replica() -> None:
    class Broken(ToyDecoder):
        def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
            raise ValueError("a secret")

    async with served_by_ray(Broken()) as (_, channel):
        with pytest.raises(FaultError) as caught:
            await decoded(RemoteDecoder(channel))

    assert caught.value.reason is Reason.INTERNAL
    assert "secret" not in caught.value.message


async def test_a_call_beyond_the_limit_is_refused_with_its_delay() -> None:
    decoder = ToyDecoder(fault=InjectedFault(Pause()))
    async with served_by_ray(decoder, limiter=ConcurrencyLimiter(1, 0)) as (_, channel):
        running = asyncio.create_task(decoded(RemoteDecoder(channel)))
        await until(lambda: decoder.running == 1)
        with pytest.raises(OverloadedError) as caught:
            await decoded(RemoteDecoder(channel))
        running.cancel()
        await asyncio.wait({running})

        await until(lambda: decoder.running == 0)
    assert caught.value.retry_after > 0


async def test_the_load_has_the_slots_and_the_bundle_of_a_replica() -> None:
    async with (
        served_by_ray(limiter=ConcurrencyLimiter(3, 2), bundle_digest="sha256:a") as (_, channel),
        closing(RemoteWorker(channel).watch_load()) as loads,
    ):
        load = await anext(loads)

    assert (load.slots, load.bundle_digest) == (3, "sha256:a")


async def test_nobody_in_the_cluster_can_drain_a_replica() -> None:
    async with served_by_ray() as (_, channel):
        stub = worker_service_pb2_grpc.WorkerServiceStub(channel)
        with pytest.raises(AccessError) as caught:
            await unary(stub.Drain(worker_service_pb2.DrainRequest()))

    assert caught.value.reason is Reason.ROLE_MISSING


@pytest.mark.parametrize(
    ("method", "requests"),
    [
        ("/motet.internal.v1.DecoderService/Encode", [b""]),
        (DECODE, []),
        (DECODE, [b"", b""]),
        (DECODE, [b"\xff"]),
        (DECODE, [decoder_service_pb2.DecodeRequest(modality="Not A Modality").SerializeToString()]),
    ],
    ids=["unknown method", "no request", "two requests", "no message", "broken rule"],
)
async def test_a_wrong_call_is_refused_and_starts_nothing(method: str, requests: list[bytes]) -> None:
    decoder = ToyDecoder()
    async with served_by_ray(decoder) as (handle, _):
        error = await failure_of(handle.methods.call(method, requests, None, ()))

    assert isinstance(error, RequestError)
    assert not decoder.seen


def test_a_status_that_cannot_be_read_is_a_fault_of_the_worker() -> None:
    assert isinstance(Failure(b"\xff").error, FaultError)


def test_an_address_names_an_application() -> None:
    assert application_of(address_of("motet-image")) == "motet-image"
    assert is_in_ray("ray:motet-image")
    assert not is_in_ray("rays:50051")


@pytest.mark.parametrize("address", ["ray:", "ray://cluster:10001", "ray:a b", "ray:" + "a" * 101])
def test_another_form_of_an_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="write ray:APPLICATION"):
        application_of(address)
