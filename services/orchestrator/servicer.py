"""Puts a `Motet` on the wire: it translates, Motet decides."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from hashlib import sha256
from typing import Any

import grpc.aio

from motet.core.errors import DeadlineError, FaultError, MotetError, NotFoundError, Reason, RequestError
from motet.core.events import Done, Event, Generation, State
from motet.core.media import Media
from motet.core.request import GenerationRequest
from motet.core.service import Motet
from motet.transport import convert
from motet.transport.channel import CHUNK
from motet.transport.coalescing import coalesced
from motet.transport.interceptor import deadline_of
from motet.v1 import artifact_service_pb2 as artifact_pb
from motet.v1 import artifact_service_pb2_grpc as artifact_grpc
from motet.v1 import event_pb2
from motet.v1 import generation_service_pb2 as generation_pb
from motet.v1 import generation_service_pb2_grpc as generation_grpc
from motet.v1 import model_service_pb2 as model_pb
from motet.v1 import model_service_pb2_grpc as model_grpc

HEARTBEAT = 10.0
"""Seconds of silence after which a stream says that it is alive: some networks cut those that say nothing for long."""

REST = 0.005
"""Seconds before each message of a stream: what happens meanwhile goes on together, and the end waits for nothing."""


class GenerationServicer(generation_grpc.GenerationServiceServicer):
    """Serves generations. `heartbeat` and `rest` are in seconds."""

    name = generation_pb.DESCRIPTOR.services_by_name["GenerationService"].full_name

    def __init__(self, motet: Motet, heartbeat: float = HEARTBEAT, rest: float = REST) -> None:
        self._motet = motet
        self._heartbeat = heartbeat
        self._rest = rest

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods."""
        generation_grpc.add_GenerationServiceServicer_to_server(self, server)

    async def Generate(
        self, request: generation_pb.GenerateRequest, context: Any
    ) -> AsyncGenerator[generation_pb.GenerateResponse, None]:
        """Translate and generate; the status after `done` is what went wrong, if nothing usable came of it."""
        wish = _timed(convert.request_from_proto(request), deadline_of(context).remaining())
        record: Generation | None = None
        async with aclosing(
            coalesced(self._motet.generate(wish), heartbeat=self._heartbeat, min_interval=self._rest)
        ) as bunches:
            sequence = 0
            async for events in bunches:
                for told in _told(events, sequence):
                    yield generation_pb.GenerateResponse(events=told)
                if events:
                    sequence, last = events[-1].sequence, events[-1].payload
                    record = last.generation if isinstance(last, Done) else None
        if error := _failure_of(record):
            raise error

    async def WatchGeneration(
        self, request: generation_pb.WatchGenerationRequest, context: Any
    ) -> AsyncGenerator[generation_pb.WatchGenerationResponse, None]:
        """Translate and watch."""
        sequence = request.after_sequence
        stream = self._motet.watch(request.name, sequence)
        async with aclosing(coalesced(stream, heartbeat=self._heartbeat, min_interval=self._rest)) as bunches:
            async for events in bunches:
                for told in _told(events, sequence):
                    yield generation_pb.WatchGenerationResponse(events=told)
                sequence = events[-1].sequence if events else sequence

    async def GetGeneration(
        self, request: generation_pb.GetGenerationRequest, context: Any
    ) -> generation_pb.GetGenerationResponse:
        """Translate and look up."""
        record = await self._motet.get(request.name)
        return generation_pb.GetGenerationResponse(generation=convert.generation_to_proto(record))

    async def ListGenerations(
        self, request: generation_pb.ListGenerationsRequest, context: Any
    ) -> generation_pb.ListGenerationsResponse:
        """Translate and list."""
        records, token = await self._motet.generations(request.page_size, request.page_token)
        return generation_pb.ListGenerationsResponse(
            generations=[convert.generation_to_proto(record) for record in records], next_page_token=token
        )

    async def CancelGeneration(
        self, request: generation_pb.CancelGenerationRequest, context: Any
    ) -> generation_pb.CancelGenerationResponse:
        """Translate and cancel."""
        record = await self._motet.cancel(request.name)
        return generation_pb.CancelGenerationResponse(generation=convert.generation_to_proto(record))


class ArtifactServicer(artifact_grpc.ArtifactServiceServicer):
    """Serves artifacts."""

    name = artifact_pb.DESCRIPTOR.services_by_name["ArtifactService"].full_name

    def __init__(self, motet: Motet) -> None:
        self._motet = motet

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods."""
        artifact_grpc.add_ArtifactServiceServicer_to_server(self, server)

    async def UploadArtifact(
        self, request_iterator: AsyncIterator[artifact_pb.UploadArtifactRequest], context: Any
    ) -> artifact_pb.UploadArtifactResponse:
        """Collect, check against the header, and keep."""
        limit = max(model.max_media_bytes for model in await self._motet.models())
        artifact = await self._motet.upload(await _collected(request_iterator, limit))
        return artifact_pb.UploadArtifactResponse(artifact=convert.artifact_to_proto(artifact))

    async def DownloadArtifact(
        self, request: artifact_pb.DownloadArtifactRequest, context: Any
    ) -> AsyncGenerator[artifact_pb.DownloadArtifactResponse, None]:
        """Translate and download."""
        offset = request.offset
        async for chunk in self._motet.download(request.name, offset):
            yield artifact_pb.DownloadArtifactResponse(offset=offset, chunk=chunk)
            offset += len(chunk)

    async def DeleteArtifact(
        self, request: artifact_pb.DeleteArtifactRequest, context: Any
    ) -> artifact_pb.DeleteArtifactResponse:
        """Translate and delete."""
        await self._motet.delete(request.name)
        return artifact_pb.DeleteArtifactResponse()


class ModelServicer(model_grpc.ModelServiceServicer):
    """Serves what a deployment can do."""

    name = model_pb.DESCRIPTOR.services_by_name["ModelService"].full_name

    def __init__(self, motet: Motet) -> None:
        self._motet = motet

    def add_to(self, server: grpc.aio.Server) -> None:
        """Register the methods."""
        model_grpc.add_ModelServiceServicer_to_server(self, server)

    async def ListModels(self, request: model_pb.ListModelsRequest, context: Any) -> model_pb.ListModelsResponse:
        """Translate and list."""
        models = [convert.model_to_proto(model) for model in await self._motet.models()]
        return model_pb.ListModelsResponse(models=models)

    async def GetModel(self, request: model_pb.GetModelRequest, context: Any) -> model_pb.GetModelResponse:
        """Translate and find."""
        models = {model.name: model for model in await self._motet.models()}
        if request.name not in models:
            known = ", ".join(models)
            raise NotFoundError(
                f"there is no model called {request.name!r} here, only {known}",
                Reason.MODEL_NOT_FOUND,
                {"model": request.name, "supported": known},
            )
        return model_pb.GetModelResponse(model=convert.model_to_proto(models[request.name]))


def _timed(wish: GenerationRequest, remaining: float | None) -> GenerationRequest:
    """The wish, to be fulfilled within the call's own time, too. Who detaches will not wait, so its call counts not."""
    if remaining is None or wish.detach:
        return wish
    if remaining <= 0:
        raise DeadlineError("the deadline had passed when the call arrived; allow more time")
    return replace(wish, timeout=remaining if wish.timeout is None else min(wish.timeout, remaining))


def _told(events: Sequence[Event], sequence: int) -> Iterator[list[event_pb2.Event]]:
    """The events in lists that fit a message; a heartbeat after `sequence` where there are none."""
    if not events:
        yield [convert.heartbeat_to_proto(sequence, time.time())]
        return
    told: list[event_pb2.Event] = []
    size = 0
    for message in map(convert.event_to_proto, events):
        size += message.ByteSize()
        if told and size > CHUNK:
            yield told
            told, size = [], message.ByteSize()
        told.append(message)
    yield told


def _failure_of(record: Generation | None) -> MotetError | None:
    if record is None or record.state in (State.SUCCEEDED, State.PARTIAL):
        return None
    return record.error or FaultError("the generation failed without saying why")


async def _collected(frames: AsyncIterator[artifact_pb.UploadArtifactRequest], limit: int) -> Media:
    """The media that a header and its chunks add up to. Raises `RequestError` where they do not."""
    header: artifact_pb.UploadArtifactRequest.Header | None = None
    data = bytearray()
    async for frame in frames:
        if (frame.WhichOneof("frame") == "header") != (header is None):
            raise RequestError("an upload is one header, then chunks")
        if header is None:
            header = frame.header
        data += frame.chunk
        if max(header.size_bytes, len(data)) > limit:
            raise RequestError(
                f"a piece of media takes more than the {limit} bytes that are allowed",
                Reason.INPUT_TOO_LARGE,
                {"limit": str(limit)},
            )
    if header is None or len(data) != header.size_bytes:
        raise _unequal("size_bytes")
    if header.sha256 and header.sha256 != sha256(data).digest():
        raise _unequal("sha256")
    return Media(header.media_type, bytes(data))


def _unequal(field: str) -> RequestError:
    return RequestError(f"the chunks do not have the header's {field}: upload again", metadata={"field": field})
