"""Clients of the workers in other processes. They implement the worker protocols, so a caller sees no difference.

Deadlines shrink by one hop. The compute times of a call belong to the task that makes the call. A call is cancelled
when its reader stops, and when the worker breaks the grammar of its stream or sends more than the call's bounds.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import grpc.aio

from motet.core.deadline import Deadline
from motet.core.errors import FaultError, RequestError
from motet.core.media import MAX_INLINE_BYTES, MAX_MEDIA_BYTES, Media, chunks, sha256_of
from motet.core.request import MAX_TIMEOUT, check_job, check_range
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Finished, LanguageEvent, Load, Progress, Prompt
from motet.internal.v1 import (
    decoder_service_pb2,
    decoder_service_pb2_grpc,
    encoder_service_pb2,
    encoder_service_pb2_grpc,
    language_model_service_pb2,
    language_model_service_pb2_grpc,
    worker_service_pb2,
    worker_service_pb2_grpc,
)
from motet.transport import convert
from motet.transport.channel import HOP
from motet.transport.client_call import end_timer, open_stream, request_metadata, unary
from motet.transport.incoming_media import IncomingMedia
from motet.transport.tls.channel import ReloadingChannel

_MAX_EMPTY = 1000
"""Maximum number of messages and events without a known content in a stream. A newer worker may send some."""

_MIN_LOAD_INTERVAL = 0.02
"""Minimum interval between two load reports that are read, in seconds. Workers keep a longer one."""


class RemoteEncoder:
    """The client of an encoder service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """Return one embedding for each item, in order."""
        call = self._stub.Encode(
            _frames(media, tenant, priority), timeout=_timeout(deadline), metadata=request_metadata()
        )
        response = await unary(call, "the encoder")
        convert.CallComputeTimes(ServiceKind.ENCODER).update(response.compute_times)
        if len(response.embeddings) != len(media):
            raise FaultError(f"the encoder returned {len(response.embeddings)} embeddings for {len(media)} items")
        try:
            return [convert.tensor_from_proto(tensor) for tensor in response.embeddings]
        except RequestError as error:
            raise FaultError(f"the encoder returned an invalid embedding: {error.message}") from error


class RemoteLanguageModel:
    """The client of a language model service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = language_model_service_pb2_grpc.LanguageModelServiceStub(channel)
        self._end_timer = end_timer()

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Yield text pieces and signals, then exactly one `Finished`."""
        call = self._stub.Generate(
            convert.prompt_to_proto(prompt), timeout=_timeout(deadline), metadata=request_metadata()
        )
        empty, times = 0, convert.CallComputeTimes(ServiceKind.LANGUAGE_MODEL)
        async with open_stream(call, "the language model") as responses:
            async for response in responses:
                times.update(response.compute_times)
                events = _language_events(response)
                empty += not events
                if empty > _MAX_EMPTY:
                    raise FaultError("the language model sent too many messages without a known event")
                for event in events:
                    if isinstance(event, Finished):
                        responses.expect_end(self._end_timer)
                        yield event
                        return
                    yield event
        raise FaultError("the language model ended its stream without a finished event")


class RemoteDecoder:
    """The client of a decoder service. `max_bytes` is the maximum size of its media."""

    def __init__(self, channel: grpc.aio.Channel, max_bytes: int = MAX_MEDIA_BYTES) -> None:
        self._stub = decoder_service_pb2_grpc.DecoderServiceStub(channel)
        self._end_timer = end_timer()
        self._max_bytes = max_bytes

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Yield `Progress` events, then exactly one `Media` whose digest has been checked."""
        call: Any
        if job.inputs and await _exceed_a_message(job):
            message = convert.decode_job_to_proto(replace(job, inputs=()))
            frames = _job_frames(message, job.inputs, lambda: call.initial_metadata())
            call = self._stub.DecodeChunked(frames, timeout=_timeout(deadline), metadata=request_metadata())
        else:
            call = self._stub.Decode(
                convert.decode_job_to_proto(job), timeout=_timeout(deadline), metadata=request_metadata()
            )
        peer = f"the {job.modality} decoder"
        media = IncomingMedia(peer, self._max_bytes)
        empty, times = 0, convert.CallComputeTimes(ServiceKind.DECODER)
        async with open_stream(call, peer) as responses:
            async for response in responses:
                times.update(response.compute_times)
                empty += not response.events
                for event in response.events:
                    match event.WhichOneof("event"):
                        case "progress" if not media.started:
                            yield convert.progress_from_proto(event.progress)
                        case "media":
                            media.start(event.media)
                        case "chunk":
                            media.add(event.chunk)
                        case _:
                            empty += 1
                if empty > _MAX_EMPTY:
                    raise FaultError(f"{peer} sent too many messages without a known event")
                if media.complete:
                    responses.expect_end(self._end_timer)
                    break
        yield media.checked()


class RemoteWorker:
    """The client of the service that every worker has."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = worker_service_pb2_grpc.WorkerServiceStub(channel)
        self._is_retired = channel.is_retired if isinstance(channel, ReloadingChannel) else _never_retired

    async def watch_load(self) -> AsyncIterator[Load]:
        """Yield the worker's load at once, after each change, and every `REPORT_INTERVAL` seconds until it stops."""
        moves = True
        while moves:
            moves = False
            # The call waits for a connection, so it begins as soon as the worker can be reached.
            call = self._stub.WatchCapacity(worker_service_pb2.WatchCapacityRequest(), wait_for_ready=True)
            async with open_stream(call, "the worker") as loads:
                async for load in loads:
                    yield convert.load_from_proto(load)
                    await asyncio.sleep(_MIN_LOAD_INTERVAL)
                    # This call has no end, and an old connection is closed when its calls have ended.
                    if moves := self._is_retired(call):
                        break

    async def drain(self, grace: float | None = None) -> int:
        """Stop admission at the worker, and wait up to `grace` seconds for its calls. Return how many are left."""
        check_range("grace", grace, 0, MAX_TIMEOUT)
        request = worker_service_pb2.DrainRequest(grace=None if grace is None else convert.duration_to_proto(grace))
        return (await unary(self._stub.Drain(request), "the worker")).remaining


def _never_retired(call: object) -> bool:
    return False


def _timeout(deadline: Deadline) -> float | None:
    return deadline.earlier_by(HOP).remaining()


async def _frames(
    media: Sequence[Media], tenant: str, priority: int
) -> AsyncIterator[encoder_service_pb2.EncodeRequest]:
    for item in media:
        header = encoder_service_pb2.EncodeRequest.Header(media_type=item.media_type, tenant=tenant, priority=priority)
        yield encoder_service_pb2.EncodeRequest(header=header)
        for chunk in chunks(item.data):
            yield encoder_service_pb2.EncodeRequest(chunk=chunk)


async def _exceed_a_message(job: DecodeJob) -> bool:
    """Compute the digests of a job's inputs. Return whether the inputs are too large for one message."""
    check_job(job)
    for media in job.inputs:
        await sha256_of(media)
    return sum(len(media.data) for media in job.inputs) > MAX_INLINE_BYTES


async def _job_frames(
    job: decoder_service_pb2.DecodeRequest, inputs: Sequence[Media], accepted: Callable[[], Awaitable[object]]
) -> AsyncIterator[decoder_service_pb2.DecodeChunkedRequest]:
    yield decoder_service_pb2.DecodeChunkedRequest(job=job)
    # A refused job sends no inputs, which may have 96 MiB.
    await accepted()
    for media in inputs:
        yield decoder_service_pb2.DecodeChunkedRequest(input=convert.input_to_proto(media))
        for chunk in chunks(media.data):
            yield decoder_service_pb2.DecodeChunkedRequest(chunk=chunk)


def _language_events(response: language_model_service_pb2.GenerateResponse) -> Sequence[LanguageEvent]:
    """Return the known events of a response. Raises `FaultError` for an invalid tensor."""
    try:
        events = [convert.language_event_from_proto(event) for event in response.events]
    except RequestError as error:
        raise FaultError(f"the language model sent an invalid tensor: {error.message}") from error
    return [event for event in events if event is not None]
