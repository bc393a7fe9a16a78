"""Puts a `LanguageModel` on the wire. It translates; the language model decides."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import grpc.aio

from motet.core.bunches import bunched
from motet.core.workers import LanguageEvent, LanguageModel, Signal, TextPiece
from motet.internal.v1 import language_model_service_pb2 as pb
from motet.internal.v1 import language_model_service_pb2_grpc as pb_grpc
from motet.transport import convert
from motet.transport.edge import deadline_of

_ROOM = 64 * 2**10
"""Bytes that wait for a caller who reads slowly, beside those that gRPC holds; then the language model waits."""

_LEAST = 64
"""Bytes that any event takes."""


class LanguageModelServicer(pb_grpc.LanguageModelServiceServicer):
    """Serves one language model."""

    name = pb.DESCRIPTOR.services_by_name["LanguageModelService"].full_name

    def __init__(self, language_model: LanguageModel) -> None:
        self._language_model = language_model

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods."""
        pb_grpc.add_LanguageModelServiceServicer_to_server(self, server)

    async def Generate(self, request: pb.GenerateRequest, context: Any) -> AsyncIterator[pb.GenerateResponse]:
        """Translate, generate, translate."""
        prompt = convert.prompt_from_proto(request)
        events = self._language_model.generate(prompt, deadline_of(context))
        async with aclosing(bunched(events, weigh=_weight, room=_ROOM)) as bunches:
            async for bunch in bunches:
                yield pb.GenerateResponse(events=map(convert.language_event_to_proto, bunch))


def _weight(event: LanguageEvent) -> int:
    match event:
        case TextPiece(text):
            return _LEAST + len(text)
        case Signal(_, conditioning):
            return _LEAST + len(conditioning.data)
        case _:
            return _LEAST
