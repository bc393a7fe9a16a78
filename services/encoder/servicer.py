"""Puts an `Encoder` on the wire. It translates; the encoder decides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc.aio

from motet.core.errors import Reason, RequestError
from motet.core.media import Media
from motet.core.workers import Encoder
from motet.internal.v1 import encoder_service_pb2 as pb
from motet.internal.v1 import encoder_service_pb2_grpc as pb_grpc
from motet.transport import convert
from motet.transport.interceptor import deadline_of

LARGEST_INPUT = 256 * 2**20
"""Bytes of all media of one call together: what one caller can make this process hold."""


class EncoderServicer(pb_grpc.EncoderServiceServicer):
    """Serves one encoder."""

    name = pb.DESCRIPTOR.services_by_name["EncoderService"].full_name

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods."""
        pb_grpc.add_EncoderServiceServicer_to_server(self, server)

    async def Encode(self, request_iterator: AsyncIterator[pb.EncodeRequest], context: Any) -> pb.EncodeResponse:
        """Translate, encode, translate."""
        media, first = await _collected(request_iterator)
        embeddings = await self._encoder.encode(
            media, deadline_of(context), tenant=first.tenant, priority=first.priority
        )
        return pb.EncodeResponse(embeddings=[convert.tensor_to_proto(one) for one in embeddings])


async def _collected(frames: AsyncIterator[pb.EncodeRequest]) -> tuple[list[Media], pb.EncodeRequest.Header]:
    """The media, and the first header."""
    items: list[tuple[pb.EncodeRequest.Header, bytearray]] = []
    size = 0
    async for frame in frames:
        if frame.WhichOneof("frame") == "header":
            items.append((frame.header, bytearray()))
            continue
        if not items:
            raise RequestError("a header must come before the first chunk")
        size += len(frame.chunk)
        if size > LARGEST_INPUT:
            raise RequestError(f"the media take more than {LARGEST_INPUT} bytes together", Reason.INPUT_TOO_LARGE)
        items[-1][1].extend(frame.chunk)
    first = items[0][0] if items else pb.EncodeRequest.Header()
    return [Media(header.media_type, bytes(data)) for header, data in items], first
