"""Puts a `Decoder` on the wire. It translates; the decoder decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import grpc.aio

from motet.core.media import Media
from motet.core.workers import Decoder, Progress
from motet.internal.v1 import decoder_service_pb2 as pb
from motet.internal.v1 import decoder_service_pb2_grpc as pb_grpc
from motet.transport import convert
from motet.transport.channel import chunks
from motet.transport.coalescing import coalesced
from motet.transport.interceptor import deadline_of
from services.capacity_servicer import LEAST, ROOM


class DecoderServicer(pb_grpc.DecoderServiceServicer):
    """Serves one decoder."""

    name = pb.DESCRIPTOR.services_by_name["DecoderService"].full_name

    def __init__(self, decoder: Decoder) -> None:
        self._decoder = decoder

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods."""
        pb_grpc.add_DecoderServiceServicer_to_server(self, server)

    async def Decode(self, request: pb.DecodeRequest, context: Any) -> AsyncIterator[pb.DecodeResponse]:
        """Translate, decode, translate."""
        job = convert.decode_job_from_proto(request)
        events = self._decoder.decode(job, deadline_of(context))
        async with aclosing(coalesced(events, size_of=_weight, max_bytes=ROOM)) as bunches:
            async for bunch in bunches:
                for told in _told(bunch):
                    yield pb.DecodeResponse(events=told)


def _weight(event: Progress | Media) -> int:
    media = event.preview if isinstance(event, Progress) else event
    return LEAST if media is None else LEAST + len(media.data)


def _told(bunch: Sequence[Progress | Media]) -> Iterator[list[pb.DecodeResponse.Event]]:
    """The events in lists that fit a message: all, with the beginning of a result, then the rest of it by chunks."""
    rest: Iterator[bytes] = iter(())
    told = []
    for event in bunch:
        if isinstance(event, Media):
            rest = chunks(event.data)
            told.append(_begun(event, next(rest, b"")))
        else:
            told.append(convert.progress_to_proto(event))
    yield told
    for chunk in rest:
        yield [pb.DecodeResponse.Event(chunk=chunk)]


def _begun(media: Media, data: bytes) -> pb.DecodeResponse.Event:
    result = pb.DecodeResponse.Media(
        media_type=media.media_type, size_bytes=len(media.data), sha256=media.sha256, data=data
    )
    return pb.DecodeResponse.Event(media=result)
