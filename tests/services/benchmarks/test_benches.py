"""Each benchmark that needs no weights, run as briefly as it can be: it measures, and what it says adds up."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest

from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import FaultError
from motet.core.events import State
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Prompt, Turn
from motet.toys.workers import Pause, ToyDecoder, ToyLanguageModel, Trouble, grammar_of
from motet.transport.coalescing import coalesced
from services.benchmarks.load.open_loop import Due, play
from services.benchmarks.reports import plots
from services.benchmarks.suite import contention, orchestrator_overhead, overlap, serve
from services.benchmarks.tracing.spans import LANGUAGE_MODEL, ClockedDecoder, ClockedLanguageModel, Span, SpanFile
from services.cli.bench_commands import app
from services.embedded import embedded
from services.factory import Factory
from tests.services.command import CLEAN, PATIENCE

JOB = DecodeJob("a", Tensor("float32", (1,), bytes(4)), 7)
PROMPT = Prompt((Turn("user", ("hello",)),), {"a": 1}, seed=5)


async def test_a_clocked_model_tells_when_its_signals_were_out() -> None:
    spans: list[Span] = []
    grammar = grammar_of("a")
    script = [ord("x"), Pause(0.02), *grammar.runs[0].ids, Pause(0.02), ord("y")]
    model = ClockedLanguageModel(ToyLanguageModel(grammar, script), spans.append)

    async for _ in coalesced(model.generate(PROMPT, Deadline.never())):  # as a service reads it: ahead of its caller
        await asyncio.sleep(0.01)

    (span,) = spans
    ((modality, at),) = span.marks
    assert (span.worker, span.seed, span.whole, modality) == (LANGUAGE_MODEL, 5, True, "a")
    assert 0.02 <= at < span.busy - 0.015
    assert span.busy < span.ended - span.begun


async def test_a_clocked_decoder_that_is_stopped_tells_so() -> None:
    spans: list[Span] = []
    toy = ToyDecoder("a", delay=0.01, steps=50)
    async with closing(ClockedDecoder(toy, spans.append).decode(JOB, Deadline.never())) as events:
        await anext(events)

    assert [(span.worker, span.seed, span.whole) for span in spans] == [("a", 7, False)]
    assert toy.running == 0


async def test_a_clocked_worker_raises_what_the_worker_raises() -> None:
    spans: list[Span] = []
    toy = ToyDecoder("a", trouble=Trouble(FaultError("out of paint"), after=1))

    with pytest.raises(FaultError, match="out of paint"):
        _ = [event async for event in ClockedDecoder(toy, spans.append).decode(JOB, Deadline.never())]

    assert [span.whole for span in spans] == [False]


def test_spans_are_read_once_by_another_process(tmp_path: Path) -> None:
    writer, reader = SpanFile(tmp_path / "spans"), SpanFile(tmp_path / "spans")
    first = Span("a", 2**62, 1.5, 2.5, 1.0, True, (("b", 0.25),))

    writer.write([first])
    assert reader.read() == [first]
    writer.write([Span("a", 1, 0, 1, 1), Span("a", 2, 0, 1, 1)])
    assert [span.seed for span in reader.read()] == [1, 2]
    assert reader.read() == []
    writer.close()
    reader.close()


async def test_latencies_count_from_when_a_request_was_due() -> None:
    async with embedded(Factory.of_toys()) as motet:
        heard = await play(motet, [Due(0.05, "hello", 1), Due(0.0, "hello", 2), Due(0.0, "hello", 3, patience=0.0)])

    assert heard[0].due == pytest.approx(heard[1].due + 0.05)
    assert [one.state for one in heard] == [State.SUCCEEDED, State.SUCCEEDED, None]
    assert 0 <= heard[0].late < (heard[0].total or 0)
    assert heard[2].hung_up == 0.0


def test_orchestration_is_measured() -> None:
    report = orchestrator_overhead.measure(requests=3, rounds=1, plans=4, concurrency=2)

    assert report.figure("overhead per worker call, p50").value > 0
    rate = report.figure("plans per second, orchestrator beside its caller")
    assert rate.ratio is not None
    assert rate.ratio > 0


def test_overlap_is_measured_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TOKEN": 0.001, "MAKE": (0.05, 0.07, 0.09), "LOADED_MAKE": 0.1, "STEPS": 2}.items():
        monkeypatch.setattr(overlap, name, value)

    report = overlap.measure(rounds=1, seconds=0.5, plot=tmp_path / "gantt.svg")

    assert 0 < report.figure("critical-path efficiency, one request").value <= 1
    assert report.figure("requests under load that did not come whole").value == 0
    assert "critical path" in (tmp_path / "gantt.svg").read_text()


async def test_text_beside_decoders_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"_TEXTS": 1, "_FREE": 0.05, "_BESIDE": 0.05, "_SETTLE": 0.01}.items():
        monkeypatch.setattr(contention, name, value)
    factory, found = Factory.of_toys(delay=0.001), contention.Found()
    decoders = {modality: factory.decoder(modality) for modality in factory.manifest.signals}

    async with embedded(factory) as motet:
        await contention.Stage(motet, decoders, contention.jobs_of(factory.manifest)).play(found, seed=1)

    assert min(*found.alone, *found.beside, *found.kept, *found.total) > 0
    assert len(found.kept) == len(decoders)
    report = contention.report({contention.BACKGROUND: found, contention.EQUAL: found}, {})
    assert [figure.ratio for figure in report.figures[2:]] == [1, 1]


def test_a_server_is_loaded_and_its_waste_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"STEPS": 4, "STEP": 0.005, "TOKEN": 0.001}.items():
        monkeypatch.setattr(serve, name, value)

    report = serve.measure(rates=(20, 40), seconds=0.5, hang_up=0.5, plot=tmp_path / "rates.svg")

    load = report.details["loads"][0]
    assert load["whole"] + load["hung_up"] + sum(load["failed"].values()) == load["sent"] > 0
    assert report.figure("worker seconds per whole answer").value > 0
    assert report.figure("work done after hanging up").value < 50
    assert (tmp_path / "rates.svg").exists()


def test_a_picture_can_be_drawn_of_what_never_came(tmp_path: Path) -> None:
    plots.curves(tmp_path / "a.svg", [1, 2, 3], {"total": [1.0, None, 3.0]}, "rate", "seconds")

    assert (tmp_path / "a.svg").exists()


def test_the_command_prints_json_and_says_by_its_exit_code_whether_bars_are_met(tmp_path: Path) -> None:
    arguments = ["bench", "orchestrator", "--requests", "2", "--rounds", "1", "--plans", "2", "--json"]
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "services", *arguments, "--out", str(tmp_path / "report.json")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env=CLEAN,
        check=False,
    )

    told = json.loads(ran.stdout)
    assert told == json.loads((tmp_path / "report.json").read_text())
    assert ran.returncode == (0 if told["met"] else 1), ran.stderr


def test_the_commands_are_all_said_what_they_do() -> None:
    assert all(command.callback is not None and command.callback.__doc__ for command in app.registered_commands)
