"""The asynchronous client."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, Unpack
from uuid import uuid4

import grpc

from motet.answers.answer import Answer
from motet.answers.answer_stream import AnswerStream
from motet.answers.options import AnswerOptions, Prompt, request_of
from motet.client.artifacts import ArtifactClient
from motet.client.connection import Connection
from motet.client.conversation import Conversation
from motet.client.credentials import AUTHORIZATION, tls_credentials_of
from motet.client.event_checker import EventChecker
from motet.core.errors import FaultError, Reason, RetryableError
from motet.core.events import Artifact, Event, Generation
from motet.core.media import MAX_INLINE_BYTES, MEBI, Media
from motet.core.request import (
    MAX_COUNT,
    MAX_INT64,
    ArtifactName,
    Content,
    GenerationRequest,
    Message,
    check_range,
    check_timeout,
)
from motet.core.service import Model, Quota
from motet.transport import convert
from motet.transport.client_call import open_stream
from motet.v1 import generation_service_pb2 as pb
from motet.v1 import (
    generation_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    quota_service_pb2,
    quota_service_pb2_grpc,
)

DEFAULT_ADDRESS = "localhost:50050"
"""The address of `motet up` on this machine."""

_MAX_TOTAL_INLINE_BYTES = 3 * MEBI
"""Maximum size of all media inside a request, in bytes. The rest of a 4 MiB message is for the text."""

_TIMEOUT_MARGIN = 5.0
"""Time from a generation's timeout to the timeout of its call, in seconds, so that the final event still arrives."""

_RECONNECT_TIMEOUT = 30.0
"""Maximum time without an event before the client stops reconnecting, in seconds."""

_RESUMABLE = Reason.WORKER_LOST, Reason.SLOW_READER
"""Reasons for which the stream of a detached generation ends although the generation continues."""

_RETRY_DELAYS = 0.1, 2.0
"""First and maximum delay between two reconnects, in seconds."""


class Client:
    """A gRPC client that implements `motet.core.service.Motet`. Create a client in a running event loop.

    Without an address, the environment variable `MOTET_SERVER` names the server, or else it is `DEFAULT_ADDRESS`.
    Without credentials, `MOTET_TLS_CA` names a PEM file of authorities for TLS, and `MOTET_TLS_CERT` and
    `MOTET_TLS_KEY` the client's certificate, or else the connection is not encrypted. `api_key`, by default
    `MOTET_API_KEY`, and `metadata` are sent with every call. A key is sent to another machine only over an encrypted
    connection, unless `allow_insecure` is set. `timeout` limits each call except `generate`, `watch` and `download`, in
    seconds. `answer_timeout` is the timeout of answers that have no timeout of their own and are not detached.
    `retries` is the number of times that they are sent again to an overloaded server, see `AnswerStream`. `proxy` is
    the URL of an HTTP proxy for remote servers; without it, `MOTET_PROXY` names one. `async with` closes the client.

    Raise `SettingsError` if the address, the credentials, the key, the proxy or the metadata are invalid, and
    `RequestError` for a wrong timeout and in a forked process. Each method raises the error that the server reports, or
    `RetryableError` if the server cannot be reached.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        answer_timeout: float = 600.0,
        retries: int = 2,
        proxy: str | None = None,
        allow_insecure: bool = False,
    ) -> None:
        if address is None:
            address = os.environ.get("MOTET_SERVER") or DEFAULT_ADDRESS
        check_timeout("timeout", timeout)
        check_timeout("answer_timeout", answer_timeout)
        proxy = os.environ.get("MOTET_PROXY", "") if proxy is None else proxy
        metadata = metadata or {}
        if api_key is None:
            api_key = "" if AUTHORIZATION in metadata else os.environ.get("MOTET_API_KEY", "")
        credentials = credentials or tls_credentials_of(os.environ)
        self._connection = Connection(address, credentials, metadata, timeout, proxy, api_key, allow_insecure)
        self._answer_timeout = answer_timeout
        self._retries = retries
        self._generations = generation_service_pb2_grpc.GenerationServiceStub(self._connection.channel)
        self._models = model_service_pb2_grpc.ModelServiceStub(self._connection.channel)
        self._quotas = quota_service_pb2_grpc.QuotaServiceStub(self._connection.channel)
        self._artifacts = ArtifactClient(self._connection)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection and cancel all running calls."""
        await self._connection.close()

    async def answer(self, prompt: Prompt, media: Sequence[Content] = (), **options: Unpack[AnswerOptions]) -> Answer:
        """Return the complete answer to a prompt, with media attached to it.

        Raise the generation's error if it failed or was cancelled. A partial generation raises no error.
        """
        async with self.stream(prompt, media, **options) as stream:
            return await stream.answer()

    def stream(self, prompt: Prompt, media: Sequence[Content] = (), **options: Unpack[AnswerOptions]) -> AnswerStream:
        """Return the answer to a prompt as a stream: `async with client.stream("...") as stream`."""
        request = request_of(prompt, media, options)
        if request.timeout is None and not request.detach:
            request = replace(request, timeout=self._answer_timeout)
        return AnswerStream(self, request, self._retries)

    def conversation(self, **options: Unpack[AnswerOptions]) -> Conversation:
        """Return a new conversation. The options are those of each of its answers."""
        return Conversation(self, options)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Yield the events of a new generation, from `Accepted` to `Done`, see `Motet.generate`.

        Media larger than 1 MiB are uploaded first. Every request gets an id, so that a retry never starts a second
        generation. A lost connection cancels the generation, unless `request.detach` is set. With `detach` the client
        reconnects and continues with the next event, also if the events were not read for a long time.
        """
        self._connection.check()
        message = convert.request_to_proto(await self._prepare(request))
        timeout = None if request.timeout is None or request.detach else request.timeout + _TIMEOUT_MARGIN
        checker = EventChecker(self._connection.peer)
        try:
            call = self._connection.stream(self._generations.Generate, message, timeout)
            async with aclosing(self._events(call, checker)) as events:
                async for event in events:
                    yield event
            if checker.done:
                return
            raise FaultError(f"{self._connection.peer} ended the stream before the generation was done")
        except RetryableError as error:
            if not (checker.generation and request.detach and error.reason in _RESUMABLE):
                raise
        async with aclosing(self._watch(checker.generation, checker, retry=True)) as events:
            async for event in events:
                yield event

    async def watch(self, name: str, after_sequence: int = 0) -> AsyncGenerator[Event, None]:
        """Yield a generation's events after a sequence number, past and future. Reconnect after a lost connection.

        Closing the iterator does not cancel the generation. Raise `NotFoundError` for an unknown name.
        """
        check_range("after_sequence", after_sequence, 0, MAX_INT64)
        checker = EventChecker(self._connection.peer, after_sequence)
        async with aclosing(self._watch(name, checker, retry=False)) as events:
            async for event in events:
                yield event

    async def get(self, name: str) -> Generation:
        """Return the record of a generation. Raise `NotFoundError` for an unknown name."""
        response = await self._connection.unary(self._generations.GetGeneration, pb.GetGenerationRequest(name=name))
        return convert.generation_from_proto(response.generation)

    async def generations(self, page_size: int = 0, page_token: str = "") -> tuple[list[Generation], str]:
        """Return a page of generations, newest first, and the token of the next page, or "" for the last page."""
        check_range("page_size", page_size, 0, MAX_COUNT)
        request = pb.ListGenerationsRequest(page_size=page_size, page_token=page_token)
        page = await self._connection.unary(self._generations.ListGenerations, request)
        return [convert.generation_from_proto(generation) for generation in page.generations], page.next_page_token

    async def cancel(self, name: str) -> Generation:
        """Cancel a generation. Return when no worker runs a call of it. Raise `NotFoundError` for an unknown name."""
        response = await self._connection.unary(
            self._generations.CancelGeneration, pb.CancelGenerationRequest(name=name)
        )
        return convert.generation_from_proto(response.generation)

    async def upload(self, media: Media) -> Artifact:
        """Store media on the server for use in a prompt. Raise `MediaError` if the server cannot read the media."""
        return await self._artifacts.upload(media)

    def download(self, name: str, offset: int = 0) -> AsyncGenerator[bytes, None]:
        """Yield the bytes of an artifact from an offset, in chunks. Raise `NotFoundError` for an unknown name."""
        return self._artifacts.download(name, offset)

    async def delete(self, name: str) -> None:
        """Delete an artifact. Do nothing if it does not exist."""
        await self._artifacts.delete(name)

    async def models(self) -> list[Model]:
        """Return the models of the server."""
        response = await self._connection.unary(self._models.ListModels, model_service_pb2.ListModelsRequest())
        return [convert.model_from_proto(model) for model in response.models]

    async def quotas(self) -> list[Quota]:
        """Return the quotas of the caller's tenant that have a limit."""
        response = await self._connection.unary(self._quotas.GetQuota, quota_service_pb2.GetQuotaRequest())
        return [convert.quota_from_proto(quota) for quota in response.quotas]

    async def _events(self, call: open_stream[Any], checker: EventChecker) -> AsyncGenerator[Event, None]:
        """Yield the events of a call, up to `Done`."""
        async with call as responses:
            async for response in responses:
                for message in response.events:
                    event = convert.event_from_proto(message)
                    if event is None:
                        checker.skip(message.sequence)
                        continue
                    checker.check(event)
                    if checker.done:
                        responses.expect_end(self._connection.end_timer)
                        yield event
                        return
                    yield event

    async def _watch(self, name: str, checker: EventChecker, retry: bool) -> AsyncGenerator[Event, None]:
        """Yield the events after the checker's. Reconnect after the first event, or from the start with `retry`."""
        loop = asyncio.get_running_loop()
        delay, longest = _RETRY_DELAYS
        last_event = loop.time()
        while True:
            request = pb.WatchGenerationRequest(name=name, after_sequence=checker.sequence)
            call = self._connection.stream(self._generations.WatchGeneration, request)
            try:
                async with aclosing(self._events(call, checker)) as events:
                    async for event in events:
                        delay, retry = _RETRY_DELAYS[0], True
                        yield event
                        # The time in which the caller handles an event is no time without an event.
                        last_event = loop.time()
                return
            except RetryableError:
                if not retry or loop.time() - last_event > _RECONNECT_TIMEOUT:
                    raise
            await asyncio.sleep(delay)
            delay = min(longest, 2 * delay)

    async def _prepare(self, request: GenerationRequest) -> GenerationRequest:
        """Return the request with an id. Upload its large media and replace them with artifact names."""
        budget = _MAX_TOTAL_INLINE_BYTES
        names: dict[Media, ArtifactName] = {}
        turns = []
        for turn in request.turns:
            parts: list[Content] = []
            for part in turn.parts:
                if isinstance(part, Media) and len(part.data) > min(MAX_INLINE_BYTES, budget):
                    if part not in names:
                        names[part] = ArtifactName((await self.upload(part)).name)
                    part = names[part]
                elif isinstance(part, Media):
                    budget -= len(part.data)
                parts.append(part)
            turns.append(Message(turn.role, tuple(parts)))
        return replace(request, turns=tuple(turns), request_id=request.request_id or str(uuid4()))
