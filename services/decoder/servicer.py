"""The gRPC servicer of a `Decoder`. It only converts messages."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import replace
from typing import Any

import grpc.aio

from motet.core.errors import Reason, RequestError
from motet.core.media import MAX_INLINE_BYTES, MAX_MEDIA_BYTES, Media, chunks, sha256_of
from motet.core.request import MAX_INPUTS
from motet.core.telemetry.compute_time import collect_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import OTHER, Stage, stage
from motet.core.workers import DecodeJob, Decoder, Progress
from motet.internal.v1 import decoder_service_pb2 as pb
from motet.internal.v1 import decoder_service_pb2_grpc as pb_grpc
from motet.transport import convert
from motet.transport.coalescing import coalesced
from motet.transport.incoming_media import IncomingMedia
from motet.transport.interceptor import deadline_of
from services.capacity_servicer import EVENT_BYTES, MAX_BUFFERED_BYTES


class DecoderServicer(pb_grpc.DecoderServiceServicer):
    """The servicer of one decoder. `modality` is a label of its metrics."""

    name = pb.DESCRIPTOR.services_by_name["DecoderService"].full_name

    def __init__(self, decoder: Decoder, modality: str = OTHER) -> None:
        self._decoder = decoder
        self._modality = modality

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods."""
        pb_grpc.add_DecoderServiceServicer_to_server(self, server)

    def Decode(self, request: pb.DecodeRequest, context: Any) -> AsyncIterator[pb.DecodeResponse]:
        """Yield the events of a job. Media are split into chunks."""
        return self._responses(convert.decode_job_from_proto(request), context)

    async def DecodeChunked(
        self, request_iterator: AsyncIterator[pb.DecodeChunkedRequest], context: Any
    ) -> AsyncIterator[pb.DecodeResponse]:
        """Receive a job and its inputs in chunks, and yield its events."""
        with self._transfer():
            job = await _receive(request_iterator, context)
        async with aclosing(self._responses(job, context)) as responses:
            async for response in responses:
                yield response

    async def _responses(self, job: DecodeJob, context: Any) -> AsyncGenerator[pb.DecodeResponse, None]:
        times = collect_compute_times()
        events = self._decoder.decode(job, deadline_of(context))
        async with aclosing(coalesced(events, size_of=_size_of, max_bytes=MAX_BUFFERED_BYTES)) as batches:
            async for batch in batches:
                if isinstance(batch[-1], Media) and len(batch[-1].data) > MAX_INLINE_BYTES:
                    # The media keep their digest. On the event loop, its computation would block other calls.
                    await sha256_of(batch[-1])
                with self._transfer() if isinstance(batch[-1], Media) else nullcontext():
                    for messages in _to_messages(batch):
                        yield pb.DecodeResponse(events=messages, compute_times=convert.compute_times_to_proto(times))

    def _transfer(self) -> stage:
        return stage(ServiceKind.DECODER, Stage.TRANSFER, self._modality)


async def _receive(frames: AsyncIterator[pb.DecodeChunkedRequest], context: Any) -> DecodeJob:
    """Return the job of a stream of frames. Raises `RequestError` for inputs that are too many, large or altered."""
    first = await anext(frames, None)
    if first is None or first.WhichOneof("frame") != "job":
        raise RequestError("the first frame of the stream must be the job")
    job = convert.decode_job_from_proto(first.job)
    await context.send_initial_metadata(())
    inputs: list[IncomingMedia] = []
    async for frame in frames:
        kind = frame.WhichOneof("frame")
        if kind == "input" and len(inputs) < MAX_INPUTS:
            inputs.append(IncomingMedia("the caller", MAX_MEDIA_BYTES, RequestError))
            inputs[-1].start(frame.input)
        elif kind == "chunk" and inputs:
            inputs[-1].add(frame.chunk)
        elif kind == "input":
            raise RequestError(f"a job may have at most {MAX_INPUTS} inputs", Reason.LIMIT_EXCEEDED)
        else:
            raise RequestError("the frames after the job must be its inputs, each followed by its chunks")
    return replace(job, inputs=tuple(media.checked() for media in inputs))


def _size_of(event: Progress | Media) -> int:
    media = event.preview if isinstance(event, Progress) else event
    return EVENT_BYTES if media is None else EVENT_BYTES + len(media.data)


def _to_messages(events: Sequence[Progress | Media]) -> Iterator[list[pb.DecodeResponse.Event]]:
    """Yield the events of each message: all events with the first chunk of the media, then one chunk a message."""
    later_chunks: Iterator[bytes] = iter(())
    messages = []
    for event in events:
        if isinstance(event, Media):
            later_chunks = chunks(event.data)
            messages.append(_media_to_proto(event, next(later_chunks, b"")))
        else:
            messages.append(convert.progress_to_proto(event))
    yield messages
    for chunk in later_chunks:
        yield [pb.DecodeResponse.Event(chunk=chunk)]


def _media_to_proto(media: Media, first_chunk: bytes) -> pb.DecodeResponse.Event:
    result = pb.DecodeResponse.Media(
        media_type=media.media_type, size_bytes=len(media.data), sha256=media.sha256, data=first_chunk
    )
    return pb.DecodeResponse.Event(media=result)
