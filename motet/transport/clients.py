"""Clients of the workers in other processes. They implement the worker protocols, so a caller sees no difference.

Deadlines shrink by one hop. A call is cancelled when its reader stops.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from hashlib import sha256

import grpc.aio

from motet.core.deadline import Deadline
from motet.core.errors import FaultError
from motet.core.media import Media, chunks
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Finished, LanguageEvent, Load, Progress, Prompt
from motet.internal.v1 import (
    decoder_service_pb2,
    decoder_service_pb2_grpc,
    encoder_service_pb2,
    encoder_service_pb2_grpc,
    language_model_service_pb2_grpc,
    worker_service_pb2,
    worker_service_pb2_grpc,
)
from motet.transport import convert
from motet.transport.channel import HOP
from motet.transport.client_call import open_stream, unary


class RemoteEncoder:
    """The client of an encoder service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """Return one embedding for each item, in order."""
        call = self._stub.Encode(_frames(media, tenant, priority), timeout=_timeout(deadline))
        response = await unary(call, "the encoder")
        if len(response.embeddings) != len(media):
            raise FaultError(f"the encoder returned {len(response.embeddings)} embeddings for {len(media)} items")
        return [convert.tensor_from_proto(tensor) for tensor in response.embeddings]


class RemoteLanguageModel:
    """The client of a language model service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = language_model_service_pb2_grpc.LanguageModelServiceStub(channel)

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Yield text pieces and signals, then exactly one `Finished`."""
        call = self._stub.Generate(convert.prompt_to_proto(prompt), timeout=_timeout(deadline))
        finished = False
        async with open_stream(call, "the language model") as responses:
            async for response in responses:
                for event in map(convert.language_event_from_proto, response.events):
                    if isinstance(event, Finished):
                        finished = True
                        responses.expect_end()
                    if event is not None:
                        yield event
        if not finished:
            raise FaultError("the language model ended its stream without a finished event")


class RemoteDecoder:
    """The client of a decoder service."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = decoder_service_pb2_grpc.DecoderServiceStub(channel)

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Yield `Progress` events, then exactly one `Media` whose digest has been checked."""
        call = self._stub.Decode(convert.decode_job_to_proto(job), timeout=_timeout(deadline))
        peer = f"the {job.modality} decoder"
        header: decoder_service_pb2.DecodeResponse.Media | None = None
        data = bytearray()
        async with open_stream(call, peer) as responses:
            async for response in responses:
                for event in response.events:
                    match event.WhichOneof("event"):
                        case "progress":
                            yield convert.progress_from_proto(event.progress)
                        case "media":
                            header = event.media
                            data.extend(header.data)
                        case "chunk":
                            data.extend(event.chunk)
                if header is not None and len(data) == header.size_bytes:
                    responses.expect_end()
                    break
        yield _checked(header, bytes(data), peer)


class RemoteWorker:
    """The client of the service that every worker has."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = worker_service_pb2_grpc.WorkerServiceStub(channel)

    async def watch_load(self) -> AsyncIterator[Load]:
        """Yield the worker's load at once, after each change, and every `REPORT_INTERVAL` seconds until it stops."""
        async with open_stream(
            self._stub.WatchCapacity(worker_service_pb2.WatchCapacityRequest()), "the worker"
        ) as loads:
            async for load in loads:
                yield convert.load_from_proto(load)

    async def drain(self, grace: float | None = None) -> int:
        """Stop admission at the worker, and wait up to `grace` seconds for its calls. Return how many are left."""
        request = worker_service_pb2.DrainRequest(grace=None if grace is None else convert.duration_to_proto(grace))
        return (await unary(self._stub.Drain(request), "the worker")).remaining


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


def _checked(header: decoder_service_pb2.DecodeResponse.Media | None, data: bytes, peer: str) -> Media:
    if header is None:
        raise FaultError(f"{peer} ended its stream without media")
    if len(data) != header.size_bytes or sha256(data).digest() != header.sha256:
        raise FaultError(f"the media of {peer} arrived incomplete or altered")
    return Media(header.media_type, data)
