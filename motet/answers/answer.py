"""The complete answer to a request, collected from the events of its generation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from motet.answers.output_folder import OutputFolder
from motet.core.closing import closing
from motet.core.errors import FaultError
from motet.core.events import (
    TEXT,
    Accepted,
    Artifact,
    Event,
    Generation,
    PartDelta,
    PartDone,
    PartFailed,
    PartStarted,
    State,
)
from motet.core.media import Media, joined, sha256_of
from motet.core.service import Motet


@dataclass(frozen=True, slots=True)
class TextPart:
    """A complete part with text.

    `index` is the part's position in the answer. `text_anchor` is the number of code points of text before the part.
    """

    index: int
    content: str
    text_anchor: int = 0


@dataclass(frozen=True, slots=True)
class MediaPart:
    """A complete part with media, see `TextPart`.

    `caption` is the text of the language model that describes the media. `artifact` names the media on the server until
    they expire. `provenance` has the inputs that determine the bytes, such as the seed and the steps.
    """

    index: int
    modality: str
    content: Media
    caption: str = ""
    text_anchor: int = 0
    artifact: Artifact | None = field(default=None, compare=False)
    provenance: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def data(self) -> bytes:
        """The encoded media file."""
        return self.content.data

    @property
    def media_type(self) -> str:
        """The IANA media type of the file, such as "application/octet-stream"."""
        return self.content.media_type


Part = TextPart | MediaPart


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a request. `parts` holds the complete parts in order, `generation.failures` the failed parts."""

    parts: tuple[Part, ...]
    generation: Generation
    seed: int

    @property
    def text(self) -> str:
        """The text of all text parts, joined in order."""
        return "".join(part.content for part in self.parts if isinstance(part, TextPart))

    @property
    def media(self) -> tuple[MediaPart, ...]:
        """The media parts, in order."""
        return tuple(part for part in self.parts if isinstance(part, MediaPart))

    def save(self, folder: str | Path) -> list[Path]:
        """Write each media part to a file, then the text. Return the paths, such as "01-smell.bin" and "02-text.txt".

        Create the folder if it does not exist. Numbers continue after the highest number in the folder, so no file is
        ever overwritten. Raise `RequestError` if a file cannot be written.
        """
        output = OutputFolder(Path(folder))
        paths = [output.save(part.modality, part.media_type, part.data) for part in self.media]
        return [*paths, output.save(TEXT, "text/plain", self.text.encode())] if self.text else paths


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

        Raise `FaultError` if a part's content does not match its digest, or if its first event is missing, and the
        errors of `Motet.download`.
        """
        match event.payload:
            case Accepted(seed=seed):
                self._seed = seed
            case PartStarted(part_id) as started:
                self._started[part_id] = started, []
            case PartDelta(part_id, _, chunk):
                self._started_part(part_id)[1].append(chunk.encode() if isinstance(chunk, str) else chunk)
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

    def _started_part(self, part_id: str) -> tuple[PartStarted, list[bytes]]:
        if part_id not in self._started:
            raise FaultError(f"{part_id} has not started; collect the events of a generation from its first event")
        return self._started[part_id]

    async def _complete(self, done: PartDone) -> Part:
        started, chunks = self._started_part(done.part_id)
        del self._started[done.part_id]
        if done.artifact is not None and not chunks:
            async with closing(self._motet.download(done.artifact.name)) as download:
                chunks = [chunk async for chunk in download]
        data = await joined(chunks)
        media = Media(done.artifact.media_type if done.artifact else started.media_type, data)
        if await sha256_of(media) != done.sha256:
            raise FaultError(f"the content of {done.part_id} does not match its digest; repeat the request")
        if started.modality == TEXT:
            return TextPart(started.index, data.decode(), started.text_anchor)
        return MediaPart(
            started.index,
            started.modality,
            media,
            started.caption,
            started.text_anchor,
            done.artifact,
            done.provenance,
        )
