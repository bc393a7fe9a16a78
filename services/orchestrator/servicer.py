"""The public gRPC services of Motet. They only convert messages, and each call sees Motet as its caller does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from operator import attrgetter
from typing import Any, NamedTuple

import grpc.aio

from motet.core.closing import closing
from motet.core.errors import DeadlineError, FaultError, MotetError, NotFoundError, Reason
from motet.core.events import Done, Event, Generation, State
from motet.core.media import CHUNK_BYTES, MAX_MEDIA_BYTES, MEBI
from motet.core.request import MIN_TIMEOUT, GenerationRequest
from motet.core.service import Motet, MotetOf
from motet.transport import convert
from motet.transport.access.current_caller import current_caller, holder_of
from motet.transport.coalescing import coalesced
from motet.transport.interceptor import deadline_of
from motet.v1 import artifact_service_pb2 as artifact_pb
from motet.v1 import artifact_service_pb2_grpc as artifact_grpc
from motet.v1 import event_pb2
from motet.v1 import generation_service_pb2 as generation_pb
from motet.v1 import generation_service_pb2_grpc as generation_grpc
from motet.v1 import model_service_pb2 as model_pb
from motet.v1 import model_service_pb2_grpc as model_grpc
from motet.v1 import quota_service_pb2 as quota_pb
from motet.v1 import quota_service_pb2_grpc as quota_grpc
from orchestrator.generation_store import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from orchestrator.settings import HEARTBEAT
from services.orchestrator.uploads import Uploads

MIN_INTERVAL = 0.005
"""Minimum interval between messages of a stream, in seconds: see ADR 19. The last message does not wait."""

_MAX_PAGE_BYTES = MEBI
"""Size of a page of records to which no further piece is added, in bytes."""

_PIECE = 16
"""Number of records that are read and converted at a time, in a few milliseconds."""

_MAX_BUFFERED_BYTES = 4 * CHUNK_BYTES
"""Size of the converted events of a stream at which reading pauses until the reader has taken them."""


class _CallersServicer:
    """A servicer whose methods see Motet as the caller of the running call does."""

    def __init__(self, motet_of: MotetOf) -> None:
        self._motet_of = motet_of

    @property
    def _motet(self) -> Motet:
        return self._motet_of(current_caller())


class GenerationServicer(_CallersServicer, generation_grpc.GenerationServiceServicer):
    """Serves generations.

    `heartbeat` is the interval of heartbeats on a silent stream, and `min_interval` the minimum interval between
    messages of a stream, both in seconds.
    """

    name = generation_pb.DESCRIPTOR.services_by_name["GenerationService"].full_name

    def __init__(self, motet_of: MotetOf, heartbeat: float = HEARTBEAT, min_interval: float = MIN_INTERVAL) -> None:
        super().__init__(motet_of)
        self._heartbeat = heartbeat
        self._min_interval = min_interval
        self.watchers = 0
        """Number of running calls of `WatchGeneration`, which the server's limit does not count."""

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the service's methods."""
        generation_grpc.add_GenerationServiceServicer_to_server(self, server)

    async def Generate(
        self, request: generation_pb.GenerateRequest, context: Any
    ) -> AsyncGenerator[generation_pb.GenerateResponse, None]:
        """Generate an answer. After `done`, the status is OK, or the error of a generation that failed."""
        generation_request = _within_deadline(convert.request_from_proto(request), deadline_of(context).remaining())
        last: Event | None = None
        async with aclosing(self._batches(self._motet.generate(generation_request))) as batches:
            async for batch in batches:
                for events in _to_messages(batch, last.sequence if last else 0):
                    yield generation_pb.GenerateResponse(events=events)
                last = batch[-1].event if batch else last
        if last and isinstance(last.payload, Done) and (error := _failure_of(last.payload.generation)):
            raise error

    async def WatchGeneration(
        self, request: generation_pb.WatchGenerationRequest, context: Any
    ) -> AsyncGenerator[generation_pb.WatchGenerationResponse, None]:
        """Send a generation's events after a sequence number, up to its end."""
        sequence = request.after_sequence
        self.watchers += 1
        try:
            async with aclosing(self._batches(self._motet.watch(request.name, sequence))) as batches:
                async for batch in batches:
                    for events in _to_messages(batch, sequence):
                        yield generation_pb.WatchGenerationResponse(events=events)
                    sequence = batch[-1].event.sequence if batch else sequence
        finally:
            self.watchers -= 1

    async def GetGeneration(
        self, request: generation_pb.GetGenerationRequest, context: Any
    ) -> generation_pb.GetGenerationResponse:
        """Return a generation's record."""
        record = await self._motet.get(request.name)
        return generation_pb.GetGenerationResponse(generation=convert.generation_to_proto(record))

    async def ListGenerations(
        self, request: generation_pb.ListGenerationsRequest, context: Any
    ) -> generation_pb.ListGenerationsResponse:
        """Return a page of records. Other calls run between its pieces."""
        page = generation_pb.ListGenerationsResponse(next_page_token=request.page_token)
        left = min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        motet = self._motet
        while left and page.ByteSize() < _MAX_PAGE_BYTES:
            records, page.next_page_token = await motet.generations(min(left, _PIECE), page.next_page_token)
            page.generations.extend(map(convert.generation_to_proto, records))
            left = left - len(records) if page.next_page_token else 0
            await asyncio.sleep(0)
        return page

    async def CancelGeneration(
        self, request: generation_pb.CancelGenerationRequest, context: Any
    ) -> generation_pb.CancelGenerationResponse:
        """Cancel a generation and return its record."""
        record = await self._motet.cancel(request.name)
        return generation_pb.CancelGenerationResponse(generation=convert.generation_to_proto(record))

    def _batches(self, events: AsyncIterator[Event]) -> AsyncGenerator[list[_Converted], None]:
        """Yield the events that are ready at the same moment, converted, in lists; [] means a heartbeat is due."""
        return coalesced(
            _converted(events),
            size_of=attrgetter("size"),
            max_bytes=_MAX_BUFFERED_BYTES,
            heartbeat=self._heartbeat,
            min_interval=self._min_interval,
        )


class ArtifactServicer(_CallersServicer, artifact_grpc.ArtifactServiceServicer):
    """Serves artifacts."""

    name = artifact_pb.DESCRIPTOR.services_by_name["ArtifactService"].full_name

    def __init__(self, motet_of: MotetOf, uploads: Uploads | None = None) -> None:
        super().__init__(motet_of)
        self._uploads = uploads or Uploads()

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the service's methods."""
        artifact_grpc.add_ArtifactServiceServicer_to_server(self, server)

    async def UploadArtifact(
        self, request_iterator: AsyncIterator[artifact_pb.UploadArtifactRequest], context: Any
    ) -> artifact_pb.UploadArtifactResponse:
        """Receive media, check them against their header and store them."""
        limit = max((model.max_media_bytes for model in await self._motet.models()), default=MAX_MEDIA_BYTES)
        async with self._uploads.received(request_iterator, holder_of(current_caller(), context), limit) as media:
            artifact = await self._motet.upload(media)
        return artifact_pb.UploadArtifactResponse(artifact=convert.artifact_to_proto(artifact))

    async def DownloadArtifact(
        self, request: artifact_pb.DownloadArtifactRequest, context: Any
    ) -> AsyncGenerator[artifact_pb.DownloadArtifactResponse, None]:
        """Send an artifact's bytes from an offset."""
        offset = request.offset
        async for chunk in self._motet.download(request.name, offset):
            yield artifact_pb.DownloadArtifactResponse(offset=offset, chunk=chunk)
            offset += len(chunk)

    async def DeleteArtifact(
        self, request: artifact_pb.DeleteArtifactRequest, context: Any
    ) -> artifact_pb.DeleteArtifactResponse:
        """Remove an artifact."""
        await self._motet.delete(request.name)
        return artifact_pb.DeleteArtifactResponse()


class ModelServicer(_CallersServicer, model_grpc.ModelServiceServicer):
    """Serves the descriptions of models."""

    name = model_pb.DESCRIPTOR.services_by_name["ModelService"].full_name

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the service's methods."""
        model_grpc.add_ModelServiceServicer_to_server(self, server)

    async def ListModels(self, request: model_pb.ListModelsRequest, context: Any) -> model_pb.ListModelsResponse:
        """Return all models."""
        models = [convert.model_to_proto(model) for model in await self._motet.models()]
        return model_pb.ListModelsResponse(models=models)

    async def GetModel(self, request: model_pb.GetModelRequest, context: Any) -> model_pb.GetModelResponse:
        """Return the model with a name."""
        models = {model.name: model for model in await self._motet.models()}
        if request.name not in models:
            supported = ", ".join(models)
            raise NotFoundError(
                f"there is no model called {request.name!r} here, only {supported}",
                Reason.MODEL_NOT_FOUND,
                {"model": request.name, "supported": supported},
            )
        return model_pb.GetModelResponse(model=convert.model_to_proto(models[request.name]))


class QuotaServicer(_CallersServicer, quota_grpc.QuotaServiceServicer):
    """Serves the quotas of the caller's tenant."""

    name = quota_pb.DESCRIPTOR.services_by_name["QuotaService"].full_name

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the service's methods."""
        quota_grpc.add_QuotaServiceServicer_to_server(self, server)

    async def GetQuota(self, request: quota_pb.GetQuotaRequest, context: Any) -> quota_pb.GetQuotaResponse:
        """Return the quotas."""
        quotas = [convert.quota_to_proto(quota) for quota in await self._motet.quotas()]
        return quota_pb.GetQuotaResponse(quotas=quotas)


def _within_deadline(request: GenerationRequest, remaining: float | None) -> GenerationRequest:
    """Return the request with a timeout of at most the call's `remaining` seconds, unless it is detached."""
    if remaining is None or request.detach or (request.timeout is not None and request.timeout <= remaining):
        return request
    if remaining < MIN_TIMEOUT:
        raise DeadlineError("the deadline had passed when the call arrived; allow more time")
    return replace(request, timeout=remaining)


class _Converted(NamedTuple):
    """An event, its message, and the size of the message in bytes."""

    event: Event
    message: event_pb2.Event
    size: int


async def _converted(events: AsyncIterator[Event]) -> AsyncGenerator[_Converted, None]:
    """Convert each event when it happens, so that the last message does not wait for earlier events' conversion."""
    async with closing(events):
        async for event in events:
            message = convert.event_to_proto(event)
            yield _Converted(event, message, message.ByteSize())


def _to_messages(batch: Sequence[_Converted], sequence: int) -> Iterator[list[event_pb2.Event]]:
    """Yield the events in lists that fit a message, or a heartbeat after `sequence` if there are no events."""
    if not batch:
        yield [convert.heartbeat_to_proto(sequence, time.time())]
        return
    events: list[event_pb2.Event] = []
    size = 0
    for each in batch:
        size += each.size
        if events and size > CHUNK_BYTES:
            yield events
            events, size = [], each.size
        events.append(each.message)
    yield events


def _failure_of(record: Generation) -> MotetError | None:
    if record.state in (State.SUCCEEDED, State.PARTIAL):
        return None
    return record.error or FaultError("the generation failed without an error message")
