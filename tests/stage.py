"""A Motet that plays what it is given, so that its callers can be tested alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256

from motet.core import events as ev
from motet.core.errors import MotetError, NotFoundError, Reason
from motet.core.media import Media
from motet.core.request import GenerationRequest
from motet.core.service import Model
from motet.transport.channel import chunks
from motet.transport.server import Server
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer

NAME = "generations/g1"
PICTURE = Media("image/png", bytes(range(256)) * 10)
MODEL = Model("toy", "plays a score", "Apache-2.0", "0" * 64, ("image",), (), 64, 60.0, 2**24, 4)

Score = list[ev.EventPayload | float | MotetError]


def text_part(number: int, text: str) -> Score:
    """The events of a text part."""
    part = f"part-{number}"
    return [
        ev.PartStarted(part, number, ev.TEXT, "text/plain", 0),
        ev.PartDelta(part, 0, text),
        ev.PartDone(part, sha256(text.encode()).digest()),
    ]


def media_part(number: int, media: Media, inline: bool = True) -> Score:
    """The events of a media part, its bytes in deltas or in the artifact alone."""
    part = f"part-{number}"
    deltas: Score = [ev.PartDelta(part, 0, media.data)] if inline else []
    return [
        ev.PartStarted(part, number, "image", media.media_type, 2, "a penguin"),
        ev.PartProgress(part, 1, 1),
        *deltas,
        ev.PartDone(part, media.sha256, artifact_of(media)),
    ]


def artifact_of(media: Media) -> ev.Artifact:
    """What a server keeps of media."""
    return ev.Artifact(
        f"artifacts/{media.sha256.hex()[:32]}", "image", media.media_type, len(media.data), media.sha256, 2e9
    )


def done(state: ev.State = ev.State.SUCCEEDED, error: MotetError | None = None) -> ev.Done:
    """The last event."""
    return ev.Done(ev.Generation(NAME, state, error=error, create_time=1.5e9))


class Stage:
    """A `Motet` that plays a score of happenings, pauses in seconds, and errors; it keeps what it is handed."""

    def __init__(self, *score: ev.EventPayload | float | MotetError) -> None:
        self.score: Score = [ev.Accepted(NAME, 7), *score]
        self.requests: list[GenerationRequest] = []
        self.watched: list[int] = []
        self.cancelled: list[str] = []
        self.hung_up = 0
        self.kept: dict[str, Media] = {}

    async def generate(self, request: GenerationRequest) -> AsyncIterator[ev.Event]:
        self.requests.append(request)
        async for event in self._played(0):
            yield event

    async def watch(self, name: str, after_sequence: int = 0) -> AsyncIterator[ev.Event]:
        self._check(name)
        self.watched.append(after_sequence)
        async for event in self._played(after_sequence):
            yield event

    async def get(self, name: str) -> ev.Generation:
        self._check(name)
        return done().generation

    async def generations(self, page_size: int = 0, page_token: str = "") -> tuple[list[ev.Generation], str]:
        return [done().generation] * page_size, f"{page_token}+"

    async def cancel(self, name: str) -> ev.Generation:
        self._check(name)
        self.cancelled.append(name)
        return done(ev.State.CANCELLED).generation

    async def upload(self, media: Media) -> ev.Artifact:
        artifact = artifact_of(media)
        self.kept[artifact.name] = media
        return artifact

    async def download(self, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        if name not in self.kept:
            raise NotFoundError(f"there is no {name}", Reason.ARTIFACT_NOT_FOUND)
        for chunk in chunks(self.kept[name].data[offset:]):
            yield chunk

    async def delete(self, name: str) -> None:
        self.kept.pop(name, None)

    async def models(self) -> list[Model]:
        return [MODEL]

    async def _played(self, after: int) -> AsyncIterator[ev.Event]:
        sequence = 0
        try:
            for item in self.score:
                if isinstance(item, MotetError):
                    raise item
                if isinstance(item, float):
                    await asyncio.sleep(item if sequence >= after else 0)
                    continue
                sequence += 1
                if sequence > after:
                    yield ev.Event(sequence, 1.5e9, item)
        except (GeneratorExit, asyncio.CancelledError):
            self.hung_up += 1
            raise

    def _check(self, name: str) -> None:
        if name != NAME:
            raise NotFoundError(f"there is no {name}")


@asynccontextmanager
async def playing(stage: Stage, address: str = "127.0.0.1:0", heartbeat: float = 10.0) -> AsyncIterator[Server]:
    """A server of a stage."""
    servicers = [GenerationServicer(stage, heartbeat), ArtifactServicer(stage), ModelServicer(stage)]
    async with Server(servicers, address=address) as server:
        yield server
