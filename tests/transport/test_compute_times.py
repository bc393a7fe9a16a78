"""The compute times of calls reach the task that makes the call, over gRPC and with the messages of Ray."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from math import inf, nan
from typing import Any

import pytest

from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import FaultError
from motet.core.events import TEXT
from motet.core.media import Media
from motet.core.telemetry.compute_time import ComputeTime, collect_compute_times, current_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, LanguageEvent, Progress, Prompt, Turn
from motet.internal.v1 import compute_time_pb2
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyEncoder, ToyLanguageModel, grammar_of
from motet.transport import convert
from motet.transport.clients import RemoteDecoder, RemoteEncoder, RemoteLanguageModel
from tests.transport.ray.local_handle import served_by_ray
from tests.transport.serving import served

JOB = DecodeJob("image", Tensor("float32", (2, 2), bytes(range(16))), seed=7)


class MeasuredEncoder(ToyEncoder):
    """An encoder that takes 1 GPU second per item."""

    async def encode(self, media: Sequence[Media], deadline: Deadline, **options: Any) -> list[Tensor]:
        for item in media:
            current_compute_times().start(ServiceKind.ENCODER, item.media_type).gpu += 1.0
        return await super().encode(media, deadline, **options)


class MeasuredLanguageModel(ToyLanguageModel):
    """A language model that takes 0.5 GPU seconds for its text and 2 CPU seconds for its pictures."""

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        times = current_compute_times()
        times.start(ServiceKind.LANGUAGE_MODEL, TEXT).gpu += 0.5
        times.start(ServiceKind.LANGUAGE_MODEL, "image").cpu += 2.0
        async for event in super().generate(prompt, deadline):
            yield event


class MeasuredDecoder(ToyDecoder):
    """A decoder that takes 1 GPU second per step."""

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        time = current_compute_times().start(ServiceKind.DECODER, job.modality)
        async for event in super().decode(job, deadline):
            time.gpu += isinstance(event, Progress)
            yield event


@pytest.fixture(params=["grpc", "ray"])
def serve(request: pytest.FixtureRequest) -> Any:
    """Return a function that serves workers and yields a channel to them as its second value."""

    def serving(*workers: Any) -> AbstractAsyncContextManager[tuple[Any, Any]]:
        return served(*workers) if request.param == "grpc" else served_by_ray(*workers)

    return serving


async def test_each_task_gets_the_compute_times_of_its_own_calls(serve: Any) -> None:
    workers = MeasuredEncoder(), MeasuredLanguageModel(grammar_of("image")), MeasuredDecoder(steps=3)

    async def request(channel: Any, pictures: int) -> object:
        times = collect_compute_times()
        deadline = Deadline.after(30)
        await RemoteEncoder(channel).encode([Media("image", b"picture")] * pictures + [Media("audio", b"a")], deadline)
        prompt = Prompt((Turn("user", ("hello",)),))
        assert [event async for event in RemoteLanguageModel(channel).generate(prompt, deadline)]
        assert [event async for event in RemoteDecoder(channel).decode(JOB, deadline)]
        return times.totals()

    async with serve(*workers) as (_, channel):
        one, other = await asyncio.gather(
            asyncio.create_task(request(channel, 1)), asyncio.create_task(request(channel, 2))
        )

    assert one == {
        (ServiceKind.ENCODER, "image"): ComputeTime(1.0),
        (ServiceKind.ENCODER, "audio"): ComputeTime(1.0),
        (ServiceKind.LANGUAGE_MODEL, TEXT): ComputeTime(0.5),
        (ServiceKind.LANGUAGE_MODEL, "image"): ComputeTime(0.0, 2.0),
        (ServiceKind.DECODER, "image"): ComputeTime(3.0),
    }
    assert other == {**one, (ServiceKind.ENCODER, "image"): ComputeTime(2.0)}  # type: ignore[dict-item]


@pytest.mark.parametrize("fault", [FaultError("broken"), Pause()])
async def test_a_failed_call_and_a_cancelled_one_keep_the_seconds_of_the_steps_before(serve: Any, fault: Any) -> None:
    times = collect_compute_times()
    async with serve(MeasuredDecoder(steps=5, delay=0.001, fault=InjectedFault(fault, after=2))) as (_, channel):
        events = RemoteDecoder(channel).decode(JOB, Deadline.after(30))
        async with closing(events):
            assert await anext(events) == Progress(1, 5)
            assert await anext(events) == Progress(2, 5)
            if isinstance(fault, FaultError):
                with pytest.raises(FaultError):
                    await anext(events)

    assert times.totals() == {(ServiceKind.DECODER, "image"): ComputeTime(2.0)}


def test_seconds_that_are_impossible_and_modalities_without_end_are_not_kept() -> None:
    times = collect_compute_times()
    call = convert.CallComputeTimes(ServiceKind.DECODER)
    for seconds in (nan, inf, -1.0):
        call.update([compute_time_pb2.ComputeTime(modality="image", gpu_seconds=seconds, cpu_seconds=seconds)])
    assert times.totals() == {}
    call.update(compute_time_pb2.ComputeTime(modality=str(number), gpu_seconds=1) for number in range(1000))

    assert len(times.totals()) < 100
