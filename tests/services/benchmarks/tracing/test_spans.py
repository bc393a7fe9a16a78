"""Spans of recorded workers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import FaultError
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Prompt, Turn
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyLanguageModel, grammar_of
from motet.transport.coalescing import coalesced
from services.benchmarks.tracing.spans import (
    LANGUAGE_MODEL,
    RecordedDecoder,
    RecordedLanguageModel,
    SpanFile,
    WorkerSpan,
)

JOB = DecodeJob("a", Tensor("float32", (1,), bytes(4)), 7)
PROMPT = Prompt((Turn("user", ("hello",)),), {"a": 1}, seed=5)


async def test_a_recorded_language_model_records_the_times_of_its_signals() -> None:
    spans: list[WorkerSpan] = []
    grammar = grammar_of("a")
    script = [ord("x"), Pause(0.02), *grammar.runs[0].ids, Pause(0.02), ord("y")]
    model = RecordedLanguageModel(ToyLanguageModel(grammar, script), spans.append)

    async for _ in coalesced(model.generate(PROMPT, Deadline.never())):  # reads ahead of its client, as a service does
        await asyncio.sleep(0.01)

    (span,) = spans
    ((modality, at),) = span.signals
    assert (span.worker, span.seed, span.finished, modality) == (LANGUAGE_MODEL, 5, True, "a")
    assert 0.02 <= at < span.busy - 0.015
    assert span.busy < span.end - span.start


async def test_the_span_of_a_cancelled_decode_is_not_finished() -> None:
    spans: list[WorkerSpan] = []
    toy = ToyDecoder("a", delay=0.01, steps=50)
    async with closing(RecordedDecoder(toy, spans.append).decode(JOB, Deadline.never())) as events:
        await anext(events)

    assert [(span.worker, span.seed, span.finished) for span in spans] == [("a", 7, False)]
    assert toy.running == 0


async def test_a_recorded_worker_raises_the_errors_of_the_worker() -> None:
    spans: list[WorkerSpan] = []
    toy = ToyDecoder("a", fault=InjectedFault(FaultError("out of paint"), after=1))

    with pytest.raises(FaultError, match="out of paint"):
        _ = [event async for event in RecordedDecoder(toy, spans.append).decode(JOB, Deadline.never())]

    assert [span.finished for span in spans] == [False]


def test_another_process_reads_each_span_once(tmp_path: Path) -> None:
    writer, reader = SpanFile(tmp_path / "spans"), SpanFile(tmp_path / "spans")
    first = WorkerSpan("a", 2**62, 1.5, 2.5, 1.0, True, (("b", 0.25),))

    writer.write([first])
    assert reader.read() == [first]
    writer.write([WorkerSpan("a", 1, 0, 1, 1), WorkerSpan("a", 2, 0, 1, 1)])
    assert [span.seed for span in reader.read()] == [1, 2]
    assert reader.read() == []
    writer.close()
    reader.close()
