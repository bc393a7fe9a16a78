"""Spans of worker calls, measured in the worker's process."""

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
class WorkerSpan:
    """One call of a worker. `start` and `end` are on the machine's monotonic clock, which all processes share.

    `busy` is the time from the start to the last output, in seconds. `signals` are the signals of a language model: the
    modality, and the seconds from the start to the signal. `seed` is the seed of the call. `finished` is False if the
    call was cancelled or failed.
    """

    worker: str
    seed: int
    start: float
    end: float
    busy: float
    finished: bool = True
    signals: tuple[tuple[str, float], ...] = ()


SpanRecorder = Callable[[WorkerSpan], None]


class SpanFile:
    """A file of spans, one a line: one process writes them and another process reads them."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b", buffering=0)
        self._offset = 0

    def write(self, spans: Sequence[WorkerSpan]) -> None:
        """Append spans."""
        self._file.write(b"".join(json.dumps(astuple(span)).encode() + b"\n" for span in spans))

    def read(self) -> list[WorkerSpan]:
        """Return the spans written since the last call."""
        self._file.seek(self._offset)
        lines, newline, _ = self._file.read().rpartition(b"\n")
        self._offset += len(lines) + len(newline)
        return [_span(json.loads(line)) for line in lines.splitlines()]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _span(fields: list[Any]) -> WorkerSpan:
    worker, seed, start, end, busy, finished, signals = fields
    return WorkerSpan(worker, seed, start, end, busy, finished, tuple((modality, at) for modality, at in signals))


class _StreamClock(Generic[Item]):
    """The time of each item of a worker's stream.

    A service reads ahead of its client, so the time at which an item is sent does not delay the worker.
    """

    def __init__(self) -> None:
        self.start = now()
        self.items: list[tuple[Item, float]] = []
        """Each item, and the seconds from the start to the item."""

    def record(self, item: Item) -> Item:
        """Record the time of an item and return it."""
        self.items.append((item, now() - self.start))
        return item

    def span(self, worker: str, seed: int, signals: Sequence[tuple[str, float]] = ()) -> WorkerSpan:
        """Return the span from the start until now."""
        last, busy = self.items[-1] if self.items else (None, 0.0)
        return WorkerSpan(worker, seed, self.start, now(), busy, isinstance(last, Finished | Media), tuple(signals))


class RecordedEncoder:
    """An `Encoder` that records a span of each call, with the seed 0."""

    def __init__(self, encoder: Encoder, record: SpanRecorder) -> None:
        self._encoder = encoder
        self._record = record

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """Call the encoder, see `Encoder.encode`."""
        start, finished = now(), False
        try:
            embeddings = await self._encoder.encode(media, deadline, tenant=tenant, priority=priority)
            finished = True
            return embeddings
        finally:
            end = now()
            self._record(WorkerSpan(ENCODER, 0, start, end, end - start, finished))


class RecordedLanguageModel:
    """A `LanguageModel` that records a span of each call, with the prompt's seed."""

    def __init__(self, model: LanguageModel, record: SpanRecorder) -> None:
        self._model = model
        self._record = record

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Yield the events of the model, see `LanguageModel.generate`."""
        clock = _StreamClock[LanguageEvent]()
        try:
            async with closing(self._model.generate(prompt, deadline)) as events:
                async for event in events:
                    yield clock.record(event)
        finally:
            signals = [(event.modality, at) for event, at in clock.items if isinstance(event, Signal)]
            self._record(clock.span(LANGUAGE_MODEL, prompt.seed, signals))


class RecordedDecoder:
    """A `Decoder` that records a span of each call, with the job's modality and seed."""

    def __init__(self, decoder: Decoder, record: SpanRecorder) -> None:
        self._decoder = decoder
        self._record = record

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Yield the events of the decoder, see `Decoder.decode`."""
        clock = _StreamClock[Progress | Media]()
        try:
            async with closing(self._decoder.decode(job, deadline)) as events:
                async for event in events:
                    yield clock.record(event)
        finally:
            self._record(clock.span(job.modality, job.seed))
