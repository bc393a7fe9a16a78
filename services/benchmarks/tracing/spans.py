"""What workers did and when, measured where they did it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

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

    `busy` is the seconds from the beginning until its last word was out. `marks` are the signals of a language model:
    modality, and the seconds after which it was out. `seed` tells whose call it was, and `whole` whether it was
    finished, not broken off.
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

    def write(self, spans: Sequence[Span]) -> None:
        """Add some."""
        self._file.write(b"".join(json.dumps(astuple(span)).encode() + b"\n" for span in spans))

    def read(self) -> list[Span]:
        """Those that came since the last reading."""
        self._file.seek(self._read)
        lines, end, _ = self._file.read().rpartition(b"\n")
        self._read += len(lines) + len(end)
        return [_span(json.loads(line)) for line in lines.splitlines()]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _span(fields: list[Any]) -> Span:
    worker, seed, begun, ended, busy, whole, marks = fields
    return Span(worker, seed, begun, ended, busy, whole, tuple((modality, at) for modality, at in marks))


class _Clock(Generic[Item]):
    """Notes when each item of a worker's stream was out.

    Whoever serves it reads ahead, so a worker does not stop while its last word is being sent.
    """

    def __init__(self) -> None:
        self.begun = now()
        self.outs: list[tuple[Item, float]] = []
        """Each item, and the seconds after which it was out."""

    def out(self, item: Item) -> Item:
        """One more is out."""
        self.outs.append((item, now() - self.begun))
        return item

    def span(self, worker: str, seed: int, marks: Sequence[tuple[str, float]] = ()) -> Span:
        """What was done until now."""
        last, busy = self.outs[-1] if self.outs else (None, 0.0)
        return Span(worker, seed, self.begun, now(), busy, isinstance(last, Finished | Media), tuple(marks))


class ClockedEncoder:
    """An `Encoder` whose calls are recorded."""

    def __init__(self, encoder: Encoder, record: Record) -> None:
        self._encoder = encoder
        self._record = record

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """As the encoder does."""
        begun, whole = now(), False
        try:
            embeddings = await self._encoder.encode(media, deadline, tenant=tenant, priority=priority)
            whole = True
            return embeddings
        finally:
            ended = now()
            self._record(Span(ENCODER, 0, begun, ended, ended - begun, whole))


class ClockedLanguageModel:
    """A `LanguageModel` whose calls are recorded, under their prompts' seeds."""

    def __init__(self, model: LanguageModel, record: Record) -> None:
        self._model = model
        self._record = record

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """As the model does."""
        clock = _Clock[LanguageEvent]()
        try:
            async with closing(self._model.generate(prompt, deadline)) as events:
                async for event in events:
                    yield clock.out(event)
        finally:
            marks = [(event.modality, at) for event, at in clock.outs if isinstance(event, Signal)]
            self._record(clock.span(LANGUAGE_MODEL, prompt.seed, marks))


class ClockedDecoder:
    """A `Decoder` whose calls are recorded, under their modality and their jobs' seeds."""

    def __init__(self, decoder: Decoder, record: Record) -> None:
        self._decoder = decoder
        self._record = record

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """As the decoder does."""
        clock = _Clock[Progress | Media]()
        try:
            async with closing(self._decoder.decode(job, deadline)) as events:
                async for event in events:
                    yield clock.out(event)
        finally:
            self._record(clock.span(job.modality, job.seed))
