"""The gRPC servicer of a `Decoder`. It only converts messages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import grpc.aio

from motet.core.media import MAX_INLINE_BYTES, Media, chunks
from motet.core.workers import Decoder, Progress
from motet.internal.v1 import decoder_service_pb2 as pb
from motet.internal.v1 import decoder_service_pb2_grpc as pb_grpc
from motet.transport import convert
from motet.transport.coalescing import coalesced
from motet.transport.interceptor import deadline_of
from services.capacity_servicer import EVENT_BYTES, MAX_BUFFERED_BYTES


class DecoderServicer(pb_grpc.DecoderServiceServicer):
    """The servicer of one decoder."""

    name = pb.DESCRIPTOR.services_by_name["DecoderService"].full_name

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods."""
        pb_grpc.add_DecoderServiceServicer_to_server(self, server)

    async def Decode(self, request: pb.DecodeRequest, context: Any) -> AsyncIterator[pb.DecodeResponse]:
        """Yield the events of a job. Media are split into chunks."""
        job = convert.decode_job_from_proto(request)
        events = self._decoder.decode(job, deadline_of(context))
        async with aclosing(coalesced(events, size_of=_size_of, max_bytes=MAX_BUFFERED_BYTES)) as batches:
            async for batch in batches:
                if isinstance(batch[-1], Media) and len(batch[-1].data) > MAX_INLINE_BYTES:
                    # The media keep their digest. On the event loop, its computation would block other calls.
                    await asyncio.to_thread(_digest_of, batch[-1])
                for messages in _to_messages(batch):
                    yield pb.DecodeResponse(events=messages)


def _size_of(event: Progress | Media) -> int:
    media = event.preview if isinstance(event, Progress) else event
    return EVENT_BYTES if media is None else EVENT_BYTES + len(media.data)


def _digest_of(media: Media) -> bytes:
    return media.sha256


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
