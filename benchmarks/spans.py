"""What workers did and when, measured where they did it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from motet.core.clock import now
from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import (
    DecodeJob,
    Decoder,
    Encoder,
    Finished,
    LanguageEvent,
    LanguageModel,
    Progress,
    Prompt,
    Signal,
)

Item = TypeVar("Item")

ENCODER = "encoder"
LANGUAGE_MODEL = "language model"


@dataclass(frozen=True, slots=True)
class Span:
    """One call of a worker. `begun` and `ended` are on this machine's monotonic clock, which its processes share.

    `busy` is the seconds in which the worker itself was at work; while whoever reads its stream was, it was not.
    `marks` are the signals of a language model: modality, and the busy seconds after which it was out. `seed` tells
    whose call it was, and `whole` whether it was finished, not broken off.
    """

    worker: str
    seed: int
    begun: float
    ended: float
    busy: float
    whole: bool = True
    marks: tuple[tuple[str, float], ...] = ()


Record = Callable[[Span], None]


class SpanFile:
    """Spans as lines of a file, so that one process can write what another reads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b", buffering=0)
        self._read = 0

    def write(self, span: Span) -> None:
        """Add one."""
        self._file.write(json.dumps(asdict(span)).encode() + b"\n")

    def read(self) -> list[Span]:
        """Those that came since the last reading."""
        self._file.seek(self._read)
        lines, end, _ = self._file.read().rpartition(b"\n")
        self._read += len(lines) + len(end)
        return [_span(json.loads(line)) for line in lines.splitlines()]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _span(fields: dict[str, Any]) -> Span:
    return Span(**fields | {"marks": tuple((modality, at) for modality, at in fields["marks"])})


class _Clock:
    """Counts a worker's busy seconds."""

    def __init__(self) -> None:
        self.begun = now()
        self.busy = 0.0

    async def follow(self, stream: AsyncIterator[Item]) -> AsyncGenerator[Item, None]:
        """The stream, its own time counted."""
        async with closing(stream):
            while True:
                resumed = now()
                try:
                    item = await anext(stream)
                except StopAsyncIteration:
                    return
                finally:
                    self.busy += now() - resumed
                yield item

    def span(self, worker: str, seed: int, whole: bool, marks: Sequence[tuple[str, float]] = ()) -> Span:
        """What was done until now."""
        return Span(worker, seed, self.begun, now(), self.busy, whole, tuple(marks))


class ClockedEncoder:
    """An `Encoder` whose calls are recorded."""

    def __init__(self, encoder: Encoder, record: Record) -> None:
        self._encoder = encoder
        self._record = record

    async def encode(self, media: Sequence[Media], deadline: Deadline) -> list[Tensor]:
        """As the encoder does."""
        clock, whole = _Clock(), False
        try:
            embeddings = await self._encoder.encode(media, deadline)
            whole = True
            return embeddings
        finally:
            clock.busy = now() - clock.begun
            self._record(clock.span(ENCODER, 0, whole))


class ClockedLanguageModel:
    """A `LanguageModel` whose calls are recorded, under their prompts' seeds."""

    def __init__(self, model: LanguageModel, record: Record) -> None:
        self._model = model
        self._record = record

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """As the model does."""
        clock, whole, marks = _Clock(), False, []
        try:
            async with aclosing(clock.follow(self._model.generate(prompt, deadline))) as events:
                async for event in events:
                    if isinstance(event, Signal):
                        marks.append((event.modality, clock.busy))
                    whole = whole or isinstance(event, Finished)
                    yield event
        finally:
            self._record(clock.span(LANGUAGE_MODEL, prompt.seed, whole, marks))


class ClockedDecoder:
    """A `Decoder` whose calls are recorded, under their modality and their jobs' seeds."""

    def __init__(self, decoder: Decoder, record: Record) -> None:
        self._decoder = decoder
        self._record = record

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """As the decoder does."""
        clock, whole = _Clock(), False
        try:
            async with aclosing(clock.follow(self._decoder.decode(job, deadline))) as events:
                async for event in events:
                    whole = whole or isinstance(event, Media)
                    yield event
        finally:
            self._record(clock.span(job.modality, job.seed, whole))
