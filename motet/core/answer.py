"""A whole answer, collected from the events of a generation."""

from __future__ import annotations

import mimetypes
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from motet.core.closing import closing
from motet.core.errors import FaultError, RequestError
from motet.core.events import (
    TEXT,
    Accepted,
    Done,
    Event,
    Generation,
    PartDelta,
    PartDone,
    PartStarted,
    State,
)
from motet.core.media import Media
from motet.core.request import GenerationRequest
from motet.core.service import Motet


@dataclass(frozen=True, slots=True)
class Part:
    """A complete part: text, or media with the caption they were made from.

    `index` is its place in the answer, `text_anchor` the number of code points written before it.
    """

    index: int
    modality: str
    content: str | Media
    caption: str = ""
    text_anchor: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a request. `parts` are the complete ones, in order; `generation.failures` tells of the others."""

    parts: tuple[Part, ...]
    generation: Generation
    seed: int

    @property
    def text(self) -> str:
        """All text, in order."""
        return "".join(part.content for part in self.parts if isinstance(part.content, str))

    @property
    def media(self) -> tuple[Part, ...]:
        """The parts that are media, in order."""
        return tuple(part for part in self.parts if isinstance(part.content, Media))

    def save(self, folder: str | Path) -> list[Path]:
        """Write each piece of media, named by place and modality, and the text to answer.txt; the paths in order.

        Makes the folder. Raises `RequestError` rather than overwrite a file.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = [(_file_of(part), part.content.data) for part in self.parts if isinstance(part.content, Media)]
        if self.text:
            files.append(("answer.txt", self.text.encode()))
        return [_write(folder / name, data) for name, data in files]


async def answer_of(motet: Motet, request: GenerationRequest) -> Answer:
    """Have a request answered, and wait for the whole of it.

    Raises what `Motet.generate` raises, the generation's own error when nothing usable came of it, and `FaultError`
    for content that is not what was made. A partial answer is an answer.
    """
    collected = _Collected(motet)
    async with closing(motet.generate(request)) as events:
        async for event in events:
            answer = await collected.add(event)
            if answer is not None:
                return answer
    raise FaultError("the answer ended before it was done")


class _Collected:
    """The parts so far."""

    def __init__(self, motet: Motet) -> None:
        self._motet = motet
        self._started: dict[str, tuple[PartStarted, list[bytes]]] = {}
        self._parts: list[Part] = []
        self._seed = 0

    async def add(self, event: Event) -> Answer | None:
        """Take in an event; the answer, once it was the last one."""
        match event.what:
            case Accepted(seed=seed):
                self._seed = seed
            case PartStarted(part_id) as started:
                self._started[part_id] = started, []
            case PartDelta(part_id, _, chunk):
                self._started[part_id][1].append(chunk.encode() if isinstance(chunk, str) else chunk)
            case PartDone() as done:
                self._parts.append(await self._whole(done))
            case Done(generation):
                return self._answer(generation)
        return None

    async def _whole(self, done: PartDone) -> Part:
        started, pieces = self._started.pop(done.part_id)
        if done.artifact is not None and not pieces:
            async with closing(self._motet.download(done.artifact.name)) as chunks:
                pieces = [chunk async for chunk in chunks]
        data = b"".join(pieces)
        if sha256(data).digest() != done.sha256:
            raise FaultError(f"the content of {done.part_id} is not what was made; ask again")
        media_type = done.artifact.media_type if done.artifact else started.media_type
        content = data.decode() if started.modality == TEXT else Media(media_type, data)
        return Part(started.index, started.modality, content, started.caption, started.text_anchor)

    def _answer(self, generation: Generation) -> Answer:
        if generation.state in (State.FAILED, State.CANCELLED):
            raise generation.error or FaultError("the generation failed without saying why")
        return Answer(tuple(sorted(self._parts, key=lambda part: part.index)), generation, self._seed)


def _file_of(part: Part) -> str:
    media_type = part.content.media_type if isinstance(part.content, Media) else "text/plain"
    return f"{part.index:02}-{part.modality}{mimetypes.guess_extension(media_type) or '.bin'}"


def _write(path: Path, data: bytes) -> Path:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise RequestError(f"{path} is already there; choose another folder") from None
    return path
