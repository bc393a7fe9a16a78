"""The complete answer to a request, collected from the events of its generation."""

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

_SAFE = re.compile(r"^[a-z0-9_]{1,32}$")
# Media subtype -> the usual file suffix, if the two differ.
_SUFFIXES = {"mpeg": "mp3", "octet-stream": "bin"}


@dataclass(frozen=True, slots=True)
class Part:
    """A complete part: text, or media with the caption that the language model wrote for them.

    `index` is the part's position in the answer. `text_anchor` is the number of code points of text before the part.
    """

    index: int
    modality: str
    content: str | Media
    caption: str = ""
    text_anchor: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request. `parts` holds the complete parts in order, `generation.failures` the failed parts."""

    parts: tuple[Part, ...]
    generation: Generation
    seed: int

    @property
    def text(self) -> str:
        """The text of all text parts, joined in order."""
        return "".join(part.content for part in self.parts if isinstance(part.content, str))

    @property
    def media(self) -> tuple[Part, ...]:
        """The media parts, in order."""
        return tuple(part for part in self.parts if isinstance(part.content, Media))

    def save(self, folder: str | Path) -> list[Path]:
        """Write each media part to a file named by index and modality, and the text to answer.txt. Return the paths.

        Create the folder if it does not exist. Raise `RequestError` if a file exists already.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        files = [(_file_name_of(part), part.content.data) for part in self.parts if isinstance(part.content, Media)]
        if self.text:
            files.append(("answer.txt", self.text.encode()))
        return [_write(folder / name, data) for name, data in files]


async def collect_answer(motet: Motet, request: GenerationRequest) -> Answer:
    """Send a request and wait for the complete answer.

    Raise the errors of `Motet.generate` and `AnswerBuilder.add`, and the generation's error if it failed or was
    cancelled. A partial generation raises no error.
    """
    collected = AnswerBuilder(motet)
    async with closing(motet.generate(request)) as events:
        async for event in events:
            await collected.add(event)
            if isinstance(event.payload, Done):
                return collected.answer(event.payload.generation)
    raise FaultError("the event stream ended before the generation was done")


class AnswerBuilder:
    """A collector of a generation's complete parts."""

    def __init__(self, motet: Motet) -> None:
        self._motet = motet
        self._started: dict[str, tuple[PartStarted, list[bytes]]] = {}
        self._parts: list[Part] = []
        self._seed = 0

    @property
    def parts(self) -> tuple[Part, ...]:
        """The complete parts received until now, in the answer's order."""
        return tuple(sorted(self._parts, key=lambda part: part.index))

    async def add(self, event: Event) -> Part | None:
        """Process an event. Return the part that the event completes, or None.

        Raise `FaultError` if a part's content does not match its digest, and the errors of `Motet.download`.
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
                self._parts.append(part := await self._complete(done))
                return part
        return None

    def answer(self, generation: Generation) -> Answer:
        """Return the complete answer. Raise the generation's error if it failed or was cancelled."""
        if generation.state in (State.FAILED, State.CANCELLED):
            raise generation.error or FaultError("the generation failed without an error message")
        return Answer(self.parts, generation, self._seed)

    async def _complete(self, done: PartDone) -> Part:
        started, chunks = self._started.pop(done.part_id)
        if done.artifact is not None and not chunks:
            async with closing(self._motet.download(done.artifact.name)) as download:
                chunks = [chunk async for chunk in download]
        data = b"".join(chunks)
        if sha256(data).digest() != done.sha256:
            raise FaultError(f"the content of {done.part_id} does not match its digest; repeat the request")
        media_type = done.artifact.media_type if done.artifact else started.media_type
        content = data.decode() if started.modality == TEXT else Media(media_type, data)
        return Part(started.index, started.modality, content, started.caption, started.text_anchor)


def file_name(number: int, modality: str, media_type: str) -> str:
    """Return the file name of a media part, such as "02-smell.bin".

    The name has no path separator, whatever the server sends, so that the file stays in its folder.
    """
    subtype = media_type.partition("/")[2].removeprefix("x-")
    suffix = _SUFFIXES.get(subtype, subtype)
    return f"{number:02}-{modality if _SAFE.match(modality) else 'part'}.{suffix if _SAFE.match(suffix) else 'bin'}"


def _file_name_of(part: Part) -> str:
    return file_name(part.index, part.modality, part.content.media_type if isinstance(part.content, Media) else "")


def _write(path: Path, data: bytes) -> Path:
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        raise RequestError(f"{path} exists already; choose another folder") from None
    return path
