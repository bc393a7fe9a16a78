"""Puts a `LanguageModel` on the wire. It translates; the language model decides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc.aio

from motet.core.workers import LanguageEvent, LanguageModel, Signal, TextPiece
from motet.internal.v1 import language_model_service_pb2 as pb
from motet.internal.v1 import language_model_service_pb2_grpc as pb_grpc
from motet.transport import convert
from motet.transport.coalescing import coalesced
from motet.transport.interceptor import deadline_of
from services.capacity_servicer import LEAST, ROOM

REST = 0.001
"""Seconds before each message of a stream. A token takes longer, so only what comes at once goes on together."""


class LanguageModelServicer(pb_grpc.LanguageModelServiceServicer):
    """Serves one language model. `rest` is in seconds."""

    name = pb.DESCRIPTOR.services_by_name["LanguageModelService"].full_name

    def __init__(self, language_model: LanguageModel, rest: float = REST) -> None:
        self._language_model = language_model
        self._rest = rest

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods."""
        pb_grpc.add_LanguageModelServiceServicer_to_server(self, server)

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        """Translate, generate, translate."""
        prompt = convert.prompt_from_proto(request)
        events = self._language_model.generate(prompt, deadline_of(context))
        async with aclosing(coalesced(events, size_of=_weight, max_bytes=ROOM, min_interval=self._rest)) as bunches:
            async for bunch in bunches:
                yield pb.GenerateResponse(events=map(convert.language_event_to_proto, bunch))


def _weight(event: LanguageEvent) -> int:
    match event:
        case TextPiece(text):
            return LEAST + len(text)
        case Signal(_, conditioning):
            return LEAST + len(conditioning.data)
        case _:
            return LEAST
