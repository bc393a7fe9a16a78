"""The gRPC service of a `LanguageModel`. It only converts messages."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc.aio

from motet.core.clock import now
from motet.core.telemetry.compute_time import collect_compute_times
from motet.core.workers import Finished, LanguageEvent, LanguageModel, Signal, TextPiece
from motet.internal.v1 import language_model_service_pb2 as pb
from motet.internal.v1 import language_model_service_pb2_grpc as pb_grpc
from motet.transport import convert
from motet.transport.coalescing import coalesced
from motet.transport.interceptor import deadline_of
from services.capacity_servicer import EVENT_BYTES, MAX_BUFFERED_BYTES

MIN_INTERVAL = 0.001
"""Minimum interval between messages of a stream, in seconds. It is shorter than a token takes.

Without it, a model that yields its events at once is 9 % slower behind this service: see ADR 19.
"""

REPORT_INTERVAL = 0.1
"""Minimum interval between reports of the compute times, in seconds. One takes longer than the rest of a message."""


class LanguageModelServicer(pb_grpc.LanguageModelServiceServicer):
    """Serves one language model. `min_interval` is the minimum interval between messages of a stream, in seconds."""

    name = pb.DESCRIPTOR.services_by_name["LanguageModelService"].full_name

    def __init__(self, language_model: LanguageModel, min_interval: float = MIN_INTERVAL) -> None:
        self._language_model = language_model
        self._min_interval = min_interval

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the service's methods."""
        pb_grpc.add_LanguageModelServiceServicer_to_server(self, server)

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        """Generate a response, and send its events in messages of several events."""
        prompt, times = convert.prompt_from_proto(request), collect_compute_times()
        events = self._language_model.generate(prompt, deadline_of(context))
        due = now() + REPORT_INTERVAL
        async with aclosing(
            coalesced(events, size_of=_size_of, max_bytes=MAX_BUFFERED_BYTES, min_interval=self._min_interval)
        ) as batches:
            async for batch in batches:
                response = pb.GenerateResponse(events=map(convert.language_event_to_proto, batch))
                if isinstance(batch[-1], Finished) or now() > due:
                    response.compute_times.extend(convert.compute_times_to_proto(times))
                    due = now() + REPORT_INTERVAL
                yield response


def _size_of(event: LanguageEvent) -> int:
    match event:
        case TextPiece(text):
            return EVENT_BYTES + len(text)
        case Signal(_, conditioning):
            return EVENT_BYTES + len(conditioning.data)
        case _:
            return EVENT_BYTES
