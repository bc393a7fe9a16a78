"""The gRPC servicer of an `Encoder`. It only converts messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import grpc.aio

from motet.core.clock import now
from motet.core.errors import Reason, RequestError
from motet.core.media import MEBI, Media
from motet.core.telemetry.compute_time import collect_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import OTHER, Stage, record_stage
from motet.core.workers import Encoder
from motet.internal.v1 import encoder_service_pb2 as pb
from motet.internal.v1 import encoder_service_pb2_grpc as pb_grpc
from motet.media.kinds import modality_of
from motet.transport import convert
from motet.transport.interceptor import deadline_of

MAX_INPUT_BYTES = 256 * MEBI
"""Maximum size of all media of one call, in bytes. It limits the memory that one caller can use."""


MAX_ITEMS = 256
"""Maximum number of items of one call."""


class EncoderServicer(pb_grpc.EncoderServiceServicer):
    """The servicer of one encoder."""

    name = pb.DESCRIPTOR.services_by_name["EncoderService"].full_name

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods."""
        pb_grpc.add_EncoderServiceServicer_to_server(self, server)

    async def Encode(self, request_iterator: AsyncIterator[pb.EncodeRequest], context: Any) -> pb.EncodeResponse:
        """Receive media in chunks, and return one embedding for each."""
        started, times = now(), collect_compute_times()
        media, first = await _receive(request_iterator)
        modality = modality_of(first.media_type) or OTHER
        record_stage(ServiceKind.ENCODER, Stage.TRANSFER, modality, started, now())
        embeddings = await self._encoder.encode(
            media, deadline_of(context), tenant=first.tenant, priority=first.priority
        )
        return pb.EncodeResponse(
            embeddings=[convert.tensor_to_proto(embedding) for embedding in embeddings],
            compute_times=convert.compute_times_to_proto(times),
        )


async def _receive(frames: AsyncIterator[pb.EncodeRequest]) -> tuple[list[Media], pb.EncodeRequest.Header]:
    """Return the media and the first header. Raises `RequestError` for a chunk without a header, or too many."""
    items: list[tuple[pb.EncodeRequest.Header, BytesIO]] = []
    size = 0
    async for frame in frames:
        if frame.WhichOneof("frame") == "header":
            if len(items) == MAX_ITEMS:
                raise RequestError(
                    f"one call may have at most {MAX_ITEMS} items", Reason.LIMIT_EXCEEDED, {"limit": str(MAX_ITEMS)}
                )
            items.append((frame.header, BytesIO()))
            continue
        if not items:
            raise RequestError("a header must come before the first chunk")
        size += len(frame.chunk)
        if size > MAX_INPUT_BYTES:
            raise RequestError(f"the media of one call have more than {MAX_INPUT_BYTES} bytes", Reason.INPUT_TOO_LARGE)
        items[-1][1].write(frame.chunk)
    first = items[0][0] if items else pb.EncodeRequest.Header()
    return [Media(header.media_type, data.getvalue()) for header, data in items], first
