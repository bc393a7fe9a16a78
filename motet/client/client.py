"""The asynchronous client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import grpc

from motet.client.artifacts import ArtifactClient
from motet.core.answer import Answer, answer_of
from motet.core.errors import FaultError, Reason, RetryableError
from motet.core.events import Accepted, Artifact, Done, Event, Generation
from motet.core.media import Media
from motet.core.request import ArtifactName, Content, GenerationRequest, Message
from motet.core.service import Model
from motet.transport import convert
from motet.transport.channel import open_channel
from motet.transport.client_call import StreamCall, open_stream, unary
from motet.v1 import generation_service_pb2 as pb
from motet.v1 import generation_service_pb2_grpc, model_service_pb2, model_service_pb2_grpc

LARGEST_INLINE = 2**20
"""Bytes of media that travel inside a request; larger ones are uploaded before."""

_LARGEST_REQUEST = 3 * 2**20
"""Bytes of all media inside a request together: a message has 4 MiB, and the text must fit, too."""

_LATE = 5.0
"""Seconds after a generation's own timeout at which its call ends, so that the server's last word still arrives."""

_PATIENCE = 30.0
"""Seconds for which a lost connection is sought again."""


class Client:
    """A `motet.core.service.Motet` at an address. Make it where an event loop runs; `async with` closes it.

    `timeout` is in seconds and bounds every call but generations, which have their own. Without credentials the
    connection is plain text. Raises `SettingsError` for what is not an address, and from each method the error that
    the server tells, or `RetryableError` when it cannot be reached.
    """

    def __init__(
        self, address: str, *, credentials: grpc.ChannelCredentials | None = None, timeout: float = 30.0
    ) -> None:
        self._whom = f"Motet at {address}"
        self._timeout = timeout
        self._channel = open_channel(address, credentials)
        self._generations = generation_service_pb2_grpc.GenerationServiceStub(self._channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._channel)
        self._shelf = ArtifactClient(self._channel, timeout, self._whom)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Hang up: ends every call that is still there."""
        await self._channel.close()

    async def answer(
        self, request: GenerationRequest | str, media: Sequence[Media] = (), *, seed: int | None = None
    ) -> Answer:
        """The whole answer to a request, or to a text with media, as one user's turn.

        Raises the generation's error when nothing usable came of it; a partial answer is an answer.
        """
        if isinstance(request, str):
            request = GenerationRequest((Message("user", (*media, request)),), seed=seed)
        return await answer_of(self, request)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Answer a request: `Accepted` first, `Done` last; closing the iterator cancels, unless the request detaches.

        Media over 1 MiB are uploaded first. Every request gets an id, so that trying again never works twice. A lost
        connection is a hang-up, which stops the work; only when the request detaches does the server go on, and then
        the events go on here, too, as soon as it can be reached again.
        """
        message = convert.request_to_proto(await self._sendable(request))
        timeout = None if request.timeout is None or request.detach else request.timeout + _LATE
        name, sequence = "", 0
        try:
            async with aclosing(self._events(self._generations.Generate(message, timeout=timeout))) as events:
                async for event in events:
                    sequence = event.sequence
                    if isinstance(event.payload, Accepted):
                        name = event.payload.generation
                    yield event
                    if isinstance(event.payload, Done):
                        return
            raise FaultError(f"{self._whom} ended the answer before it was done")
        except RetryableError as error:
            if not (name and request.detach and error.reason is Reason.WORKER_LOST):
                raise
        async with aclosing(self._watched(name, sequence, patient=True)) as events:
            async for event in events:
                yield event

    async def watch(self, name: str, after_sequence: int = 0) -> AsyncGenerator[Event, None]:
        """Replay a generation's events after a sequence and follow it to its end, over lost connections, too.

        Closing the iterator cancels nothing. Raises `NotFoundError`.
        """
        async with aclosing(self._watched(name, after_sequence, patient=False)) as events:
            async for event in events:
                yield event

    async def get(self, name: str) -> Generation:
        """The record of a generation. Raises `NotFoundError`."""
        call = self._generations.GetGeneration(pb.GetGenerationRequest(name=name), timeout=self._timeout)
        return convert.generation_from_proto((await unary(call, self._whom)).generation)

    async def generations(self, page_size: int = 0, page_token: str = "") -> tuple[list[Generation], str]:
        """A page of generations, newest first, and the token of the next page, "" for none."""
        request = pb.ListGenerationsRequest(page_size=page_size, page_token=page_token)
        page = await unary(self._generations.ListGenerations(request, timeout=self._timeout), self._whom)
        return [convert.generation_from_proto(one) for one in page.generations], page.next_page_token

    async def cancel(self, name: str) -> Generation:
        """Stop a generation; returns once no worker holds work for it. Raises `NotFoundError`."""
        call = self._generations.CancelGeneration(pb.CancelGenerationRequest(name=name), timeout=self._timeout)
        return convert.generation_from_proto((await unary(call, self._whom)).generation)

    async def upload(self, media: Media) -> Artifact:
        """Keep media on the server for use in a prompt. Raises `MediaError` for what cannot be read."""
        return await self._shelf.upload(media)

    def download(self, name: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """The bytes of an artifact from an offset, in chunks. Raises `NotFoundError`."""
        return self._shelf.download(name, offset)

    async def delete(self, name: str) -> None:
        """Forget an artifact, if it is there."""
        await self._shelf.delete(name)

    async def models(self) -> list[Model]:
        """The models that are served."""
        call = self._models.ListModels(model_service_pb2.ListModelsRequest(), timeout=self._timeout)
        return [convert.model_from_proto(model) for model in (await unary(call, self._whom)).models]

    async def _events(self, call: StreamCall[Any]) -> AsyncGenerator[Event, None]:
        async with open_stream(call, self._whom) as responses:
            async for response in responses:
                for event in map(convert.event_from_proto, response.events):
                    if event is not None:
                        if isinstance(event.payload, Done):
                            responses.expect_end()
                        yield event

    async def _watched(self, name: str, sequence: int, patient: bool) -> AsyncGenerator[Event, None]:
        """The events after a sequence. Patient, also where nobody answers at first; with an event, patience begins."""
        loop = asyncio.get_running_loop()
        heard, pause = loop.time(), 0.1
        while True:
            call = self._generations.WatchGeneration(pb.WatchGenerationRequest(name=name, after_sequence=sequence))
            try:
                async with aclosing(self._events(call)) as events:
                    async for event in events:
                        sequence, heard, pause, patient = event.sequence, loop.time(), 0.1, True
                        yield event
                        if isinstance(event.payload, Done):
                            return
                return
            except RetryableError:
                if not patient or loop.time() - heard > _PATIENCE:
                    raise
            await asyncio.sleep(pause)
            pause = min(2.0, 2 * pause)

    async def _sendable(self, request: GenerationRequest) -> GenerationRequest:
        """The request with an id, its large media uploaded and named instead."""
        room = _LARGEST_REQUEST
        names: dict[Media, ArtifactName] = {}
        turns = []
        for turn in request.turns:
            parts: list[Content] = []
            for part in turn.parts:
                if isinstance(part, Media) and len(part.data) > min(LARGEST_INLINE, room):
                    if part not in names:
                        names[part] = ArtifactName((await self.upload(part)).name)
                    part = names[part]
                elif isinstance(part, Media):
                    room -= len(part.data)
                parts.append(part)
            turns.append(replace(turn, parts=tuple(parts)))
        return replace(request, turns=tuple(turns), request_id=request.request_id or str(uuid4()))
