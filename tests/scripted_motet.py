"""A `Motet` with scripted events, for tests of its callers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from hashlib import sha256

from motet.core import events as ev
from motet.core.errors import MotetError, NotFoundError, Reason
from motet.core.media import Media, chunks
from motet.core.request import GenerationRequest
from motet.core.service import Model, Quota
from motet.transport.server import Server
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer
from tests.callers import for_anyone

NAME = "generations/g1"
PICTURE = Media("image/png", bytes(range(256)) * 10)
MODEL = Model("toy", "a scripted model", "Apache-2.0", "0" * 64, ("image",), (), 64, 60.0, 2**24, 4)

Item = ev.EventPayload | float | asyncio.Event | MotetError
Script = list[Item]


def text_part(number: int, text: str) -> Script:
    """Return the events of a text part."""
    part = f"part-{number}"
    return [
        ev.PartStarted(part, number, ev.TEXT, "text/plain", 0),
        ev.PartDelta(part, 0, text),
        ev.PartDone(part, sha256(text.encode()).digest()),
    ]


def media_part(number: int, media: Media, inline: bool = True) -> Script:
    """Return the events of a media part. If not `inline`, its bytes are only in the artifact."""
    part = f"part-{number}"
    deltas: Script = [ev.PartDelta(part, 0, media.data)] if inline else []
    return [
        ev.PartStarted(part, number, "image", media.media_type, 2, "a penguin"),
        ev.PartProgress(part, 1, 1),
        *deltas,
        ev.PartDone(part, media.sha256, artifact_of(media)),
    ]


def artifact_of(media: Media) -> ev.Artifact:
    """Return the artifact of media."""
    return ev.Artifact(
        f"artifacts/{media.sha256.hex()[:32]}", "image", media.media_type, len(media.data), media.sha256, 2e9
    )


def done(state: ev.State = ev.State.SUCCEEDED, error: MotetError | None = None) -> ev.Done:
    """Return the last event of a generation."""
    return ev.Done(ev.Generation(NAME, state, error=error, create_time=1.5e9))


def _with_plans(script: Iterable[Item]) -> Iterator[Item]:
    nodes: tuple[ev.PlanNode, ...] = ()
    for item in script:
        if isinstance(item, ev.PlanGrown):
            nodes = item.nodes
        planned = [node.part_id for node in nodes]
        if isinstance(item, ev.PartStarted) and item.modality != ev.TEXT and item.part_id not in planned:
            nodes = (*nodes, ev.PlanNode(item.part_id, item.modality))
            yield ev.PlanGrown(nodes, complete=False)
        yield item


class ScriptedMotet:
    """A `Motet` that runs a script: event payloads, pauses in seconds, `asyncio.Event`s to wait for, and errors.

    A plan is added before each media part that no plan of the script lists. `script` may be replaced by a script that
    breaks the contract. It records its inputs.
    """

    def __init__(self, *script: Item) -> None:
        self.script: Script = [ev.Accepted(NAME, 7), *_with_plans(script)]
        self.requests: list[GenerationRequest] = []
        self.watched: list[int] = []
        self.cancelled: list[str] = []
        self.cancelled_streams = 0
        self.completed_streams = 0
        self.artifacts: dict[str, Media] = {}

    async def generate(self, request: GenerationRequest) -> AsyncIterator[ev.Event]:
        self.requests.append(request)
        async for event in self._run_script(0):
            yield event

    async def watch(self, name: str, after_sequence: int = 0) -> AsyncIterator[ev.Event]:
        self._check(name)
        self.watched.append(after_sequence)
        async for event in self._run_script(after_sequence):
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
        self.artifacts[artifact.name] = media
        return artifact

    async def download(self, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        if name not in self.artifacts:
            raise NotFoundError(f"there is no {name}", Reason.ARTIFACT_NOT_FOUND)
        for chunk in chunks(self.artifacts[name].data[offset:]):
            yield chunk

    async def delete(self, name: str) -> None:
        self.artifacts.pop(name, None)

    async def models(self) -> list[Model]:
        return [MODEL]

    async def quotas(self) -> list[Quota]:
        return []

    async def _run_script(self, after: int) -> AsyncIterator[ev.Event]:
        sequence = 0
        try:
            for item in self.script:
                if isinstance(item, MotetError):
                    raise item
                if isinstance(item, float):
                    await asyncio.sleep(item if sequence >= after else 0)
                    continue
                if isinstance(item, asyncio.Event):
                    await item.wait()
                    continue
                sequence += 1
                if sequence > after:
                    yield ev.Event(sequence, 1.5e9, item)
            self.completed_streams += 1
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled_streams += 1
            raise

    def _check(self, name: str) -> None:
        if name != NAME:
            raise NotFoundError(f"there is no {name}")


@asynccontextmanager
async def serving(motet: ScriptedMotet, address: str = "127.0.0.1:0", heartbeat: float = 10.0) -> AsyncIterator[Server]:
    """Serve a scripted `Motet`."""
    servicers = [
        GenerationServicer(for_anyone(motet), heartbeat),
        ArtifactServicer(for_anyone(motet)),
        ModelServicer(for_anyone(motet)),
    ]
    async with Server(servicers, address=address) as server:
        yield server
