"""Puts a `Decoder` on the wire. It translates; the decoder decides."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc.aio

from motet.core.closing import closing
from motet.core.media import Media
from motet.core.workers import Decoder
from motet.internal.v1 import decoder_service_pb2 as pb
from motet.internal.v1 import decoder_service_pb2_grpc as pb_grpc
from motet.transport import convert
from motet.transport.channel import chunks
from motet.transport.edge import deadline_of


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
        async with closing(self._decoder.decode(job, deadline_of(context))) as events:
            async for event in events:
                if isinstance(event, Media):
                    for response in _framed(event):
                        yield response
                else:
                    yield convert.progress_to_proto(event)


def _framed(media: Media) -> Iterator[pb.DecodeResponse]:
    pieces = chunks(media.data)
    result = pb.DecodeResponse.Media(
        media_type=media.media_type, size_bytes=len(media.data), sha256=media.sha256, data=next(pieces, b"")
    )
    yield pb.DecodeResponse(media=result)
    for chunk in pieces:
        yield pb.DecodeResponse(chunk=chunk)
