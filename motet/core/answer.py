"""A whole answer, collected from the events of a generation."""

from __future__ import annotations

import re
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
    PartFailed,
    PartStarted,
    State,
)
from motet.core.media import Media
from motet.core.request import GenerationRequest
from motet.core.service import Motet

_PLAIN = re.compile(r"^[a-z0-9_]{1,32}$")
# Subtypes whose files are commonly called something else.
_SUFFIXES = {"mpeg": "mp3", "octet-stream": "bin"}


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
    collected = Collected(motet)
    async with closing(motet.generate(request)) as events:
        async for event in events:
            await collected.add(event)
            if isinstance(event.payload, Done):
                return collected.answer(event.payload.generation)
    raise FaultError("the answer ended before it was done")


class Collected:
    """The parts of an answer that are complete so far."""

    def __init__(self, motet: Motet) -> None:
        self._motet = motet
        self._started: dict[str, tuple[PartStarted, list[bytes]]] = {}
        self._parts: list[Part] = []
        self._seed = 0

    @property
    def parts(self) -> tuple[Part, ...]:
        """They, in the answer's order."""
        return tuple(sorted(self._parts, key=lambda part: part.index))

    async def add(self, event: Event) -> Part | None:
        """Take in an event; the part that it completes, if it does.

        Raises `FaultError` for content that is not what was made, and what `Motet.download` raises.
        """
        match event.payload:
            case Accepted(seed=seed):
                self._seed = seed
            case PartStarted(part_id) as started:
                self._started[part_id] = started, []
            case PartDelta(part_id, _, chunk):
                self._started[part_id][1].append(chunk.encode() if isinstance(chunk, str) else chunk)
            case PartFailed(part_id):
                self._started.pop(part_id, None)
            case PartDone() as done:
                self._parts.append(part := await self._whole(done))
                return part
        return None

    def answer(self, generation: Generation) -> Answer:
        """The whole answer. Raises the generation's own error when nothing usable came of it."""
        if generation.state in (State.FAILED, State.CANCELLED):
            raise generation.error or FaultError("the generation failed without saying why")
        return Answer(self.parts, generation, self._seed)

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


def file_name(number: int, modality: str, media_type: str) -> str:
    """What a file of an answer is called, such as "02-smell.bin". No server can name one elsewhere with it."""
    subtype = media_type.partition("/")[2].removeprefix("x-")
    suffix = _SUFFIXES.get(subtype, subtype)
    return f"{number:02}-{modality if _PLAIN.match(modality) else 'part'}.{suffix if _PLAIN.match(suffix) else 'bin'}"


def _file_of(part: Part) -> str:
    return file_name(part.index, part.modality, part.content.media_type if isinstance(part.content, Media) else "")


def _write(path: Path, data: bytes) -> Path:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise RequestError(f"{path} is already there; choose another folder") from None
    return path
