"""The workers of other processes, as workers: nobody who holds one can tell it from a local object.

Retries are the channel's business, deadlines shrink by one hop, and no call outlives its reader.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from hashlib import sha256

import grpc.aio

from motet.core.capacity import Load
from motet.core.deadline import Deadline
from motet.core.errors import FaultError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Finished, LanguageEvent, Progress, Prompt
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
from motet.transport.channel import HOP, chunks
from motet.transport.client_call import open_stream, unary


class RemoteEncoder:
    """An `Encoder` in another process."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = encoder_service_pb2_grpc.EncoderServiceStub(channel)

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """One embedding per item, in order."""
        call = self._stub.Encode(_frames(media, tenant, priority), timeout=_left(deadline))
        response = await unary(call, "the encoder")
        if len(response.embeddings) != len(media):
            raise FaultError(f"the encoder answered {len(media)} items with {len(response.embeddings)} embeddings")
        return [convert.tensor_from_proto(one) for one in response.embeddings]


class RemoteLanguageModel:
    """A `LanguageModel` in another process."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = language_model_service_pb2_grpc.LanguageModelServiceStub(channel)

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Any number of pieces and signals, then exactly one `Finished`."""
        call = self._stub.Generate(convert.prompt_to_proto(prompt), timeout=_left(deadline))
        finished = False
        async with open_stream(call, "the language model") as responses:
            async for response in responses:
                for event in map(convert.language_event_from_proto, response.events):
                    if isinstance(event, Finished):
                        finished = True
                        responses.conclude()
                    if event is not None:
                        yield event
        if not finished:
            raise FaultError("the language model stopped without having finished")


class RemoteDecoder:
    """A `Decoder` in another process."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = decoder_service_pb2_grpc.DecoderServiceStub(channel)

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Any number of `Progress`, then exactly one `Media`, whose digest has been checked."""
        call = self._stub.Decode(convert.decode_job_to_proto(job), timeout=_left(deadline))
        whom = f"the decoder of {job.modality}"
        header: decoder_service_pb2.DecodeResponse.Media | None = None
        data = bytearray()
        async with open_stream(call, whom) as responses:
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
                    responses.conclude()
                    break
        yield _checked(header, bytes(data), whom)


class RemoteWorker:
    """What every worker answers, whatever it does."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = worker_service_pb2_grpc.WorkerServiceStub(channel)

    async def capacity(self) -> AsyncIterator[Load]:
        """The worker's load, at once, after each change, and every `TOLD_EVERY` seconds, until the worker stops."""
        async with open_stream(
            self._stub.WatchCapacity(worker_service_pb2.WatchCapacityRequest()), "the worker"
        ) as loads:
            async for load in loads:
                yield convert.capacity_from_proto(load)

    async def drain(self, grace: float | None = None) -> int:
        """Have it admit no more and finish what it has, within `grace` seconds; how many calls were left over."""
        request = worker_service_pb2.DrainRequest(grace=None if grace is None else convert.span_to_proto(grace))
        return (await unary(self._stub.Drain(request), "the worker")).remaining


def _left(deadline: Deadline) -> float | None:
    return deadline.earlier_by(HOP).remaining()


async def _frames(
    media: Sequence[Media], tenant: str, priority: int
) -> AsyncIterator[encoder_service_pb2.EncodeRequest]:
    for item in media:
        header = encoder_service_pb2.EncodeRequest.Header(media_type=item.media_type, tenant=tenant, priority=priority)
        yield encoder_service_pb2.EncodeRequest(header=header)
        for chunk in chunks(item.data):
            yield encoder_service_pb2.EncodeRequest(chunk=chunk)


def _checked(header: decoder_service_pb2.DecodeResponse.Media | None, data: bytes, whom: str) -> Media:
    if header is None:
        raise FaultError(f"{whom} stopped without having made anything")
    if len(data) != header.size_bytes or sha256(data).digest() != header.sha256:
        raise FaultError(f"what {whom} made did not arrive whole")
    return Media(header.media_type, data)
