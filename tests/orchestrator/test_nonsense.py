"""Tests of nonsense from workers: it ends the generation with a clear failure, and `done` always comes."""

from __future__ import annotations

import logging

import pytest

from motet.core.errors import Reason
from motet.core.events import PartFailed, State
from motet.core.media import Media
from motet.core.workers import Finished, Progress, Signal, SignalBroken, SignalStarted, TextPiece
from motet.toys.workers import tensor_of
from tests.orchestrator.pipeline_harness import orchestrator_of, payloads_of, record_of, run_generation, toy_decoders
from tests.orchestrator.test_failures import BOTH, ScriptedWorker
from tests.waiting import in_virtual_time

NONSENSE = {
    "negative input tokens": [TextPiece("x"), Finished("stop", -1, 1)],
    "negative omitted turns": [TextPiece("x"), Finished("stop", 1, 1, omitted_turns=-1)],
    "negative output tokens": [TextPiece("x"), Finished("stop", 1, -1)],
    "tokens that are no number": [TextPiece("x"), Finished("stop", 1, float("nan"))],
    "text that is no text": [TextPiece("x"), TextPiece(b"x")],
    "an event of another kind": [TextPiece("x"), "x"],
    "a long name": [TextPiece("x"), SignalStarted("m" * 10**6)],
    "a long message": [TextPiece("x"), SignalStarted("a"), SignalBroken("a", "m" * 10**6)],
    "a signal without a modality": [TextPiece("x"), Signal("", tensor_of(b"", (4,))), Finished("stop", 1, 1)],
}


@pytest.mark.parametrize("nonsense", NONSENSE)
@in_virtual_time
async def test_nonsense_from_a_language_model_ends_the_generation_and_frees_its_slot(nonsense, caplog):
    caplog.set_level(logging.CRITICAL)
    orchestrator = orchestrator_of(ScriptedWorker(*NONSENSE[nonsense]), max_generations=1)

    for _ in range(2):
        record = record_of(await run_generation(orchestrator))
        assert record.state in (State.PARTIAL, State.FAILED)
        failures = [record.error] if record.error else [failed.error for failed in record.failures]
        assert failures
        assert orchestrator.running == 0


@pytest.mark.parametrize("event", [Progress(float("nan"), 2), Progress(1, float("nan")), Progress(2**40, 2**41), "x"])
@in_virtual_time
async def test_nonsense_from_a_decoder_fails_its_part_and_frees_the_slot(event, caplog):
    caplog.set_level(logging.CRITICAL)
    decoders = toy_decoders(a=ScriptedWorker(event, Media("x/a", b"media")))
    orchestrator = orchestrator_of(BOTH, decoders, max_generations=1)

    for _ in range(2):
        events = await run_generation(orchestrator)
        assert [failed.error.reason for failed in payloads_of(events, PartFailed)] == [Reason.WORKER_FAULT]
        assert record_of(events).state is State.PARTIAL
