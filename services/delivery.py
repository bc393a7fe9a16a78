"""One answer, from request to files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256

from motet.core.closing import closing
from motet.core.errors import FaultError
from motet.core.events import TEXT, Artifact, Done, Generation, PartDelta, PartDone, PartFailed, PartStarted
from motet.core.media import Media
from motet.core.request import GenerationRequest
from motet.core.service import Motet
from services.folder import OutputFolder
from services.screen import SavedMedia, Screen


@dataclass(frozen=True, slots=True)
class Delivery:
    """A whole answer: its text and its media in the answer's order, and the record of it."""

    parts: tuple[str | SavedMedia, ...]
    generation: Generation


class _Part:
    """A part that has started: its place, where it goes, and what came of it so far."""

    def __init__(self, started: PartStarted, folder: OutputFolder) -> None:
        self.started = started
        self.path = None if started.modality == TEXT else folder.reserve(started.modality, started.media_type)
        self.pieces: list[bytes] = []

    async def content(self, motet: Motet, artifact: Artifact | None) -> bytes:
        """The part's bytes: from its deltas, or downloaded when it had none."""
        if artifact is not None and not self.pieces:
            async with closing(motet.download(artifact.name)) as chunks:
                self.pieces = [chunk async for chunk in chunks]
        return b"".join(self.pieces)


async def deliver(motet: Motet, request: GenerationRequest, folder: OutputFolder, screen: Screen) -> Delivery:
    """Have a request answered, save its media as they are done, and show everything on the way.

    Raises what `Motet.generate` raises, `RequestError` when a file cannot be written, and `FaultError` when the
    answer ends early or media do not have the promised digest.
    """
    begun = time.monotonic()
    parts: dict[str, _Part] = {}
    whole: dict[int, str | SavedMedia] = {}
    async with closing(motet.generate(request)) as events:
        async for event in events:
            path, saved = None, None
            match event.what:
                case PartStarted() as started:
                    parts[started.part_id] = part = _Part(started, folder)
                    path = part.path
                case PartDelta(part_id, _, chunk):
                    parts[part_id].pieces.append(chunk.encode() if isinstance(chunk, str) else chunk)
                case PartDone() as done:
                    part = parts.pop(done.part_id)
                    finished = await _finish(part, done, motet, folder)
                    whole[part.started.index] = finished
                    saved = finished if isinstance(finished, SavedMedia) else None
                case PartFailed(part_id):
                    parts.pop(part_id, None)
            screen.show(event, path, saved)
            if isinstance(event.what, Done):
                ordered = tuple(whole[index] for index in sorted(whole))
                files = sum(isinstance(part, SavedMedia) for part in ordered)
                screen.total(event.what.generation, time.monotonic() - begun, files)
                return Delivery(ordered, event.what.generation)
    raise FaultError("the answer ended before it was done")


async def _finish(part: _Part, done: PartDone, motet: Motet, folder: OutputFolder) -> str | SavedMedia:
    content = await part.content(motet, done.artifact)
    if done.sha256 and sha256(content).digest() != done.sha256:
        raise FaultError(f"the bytes of part {done.part_id} are not those that were made")
    if part.path is None:
        return content.decode()
    folder.write(part.path, content)
    return SavedMedia(part.started.modality, part.path, Media(part.started.media_type, content), done.artifact)
