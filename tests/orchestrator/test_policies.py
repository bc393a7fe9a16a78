"""What a failed part does to the rest: every subset of failures under every policy."""

from __future__ import annotations

from itertools import product

import pytest

from motet.core.errors import CancelledError, FaultError, Reason
from motet.core.events import TEXT, PartDelta, PartFailed, PartStarted, State
from motet.core.request import FailurePolicy
from motet.toys.workers import Pause, ToyDecoder, ToyLanguageModel, Trouble
from tests.orchestrator.pipeline_harness import (
    MANIFEST,
    media_of,
    orchestrator_of,
    payloads_of,
    record_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
    text_of,
    toy_decoders,
)

SCRIPT = script_of("One. ", signal_run("a"), "Two. ", signal_run("a"), "Three. ", signal_run("a"), "Four.")
MEDIA = ("part-1", "part-3", "part-5")
SUBSETS = list(product((False, True), repeat=3))


class Chosen:
    """A decoder that fails at the chosen of its jobs, in the order they come."""

    def __init__(self, chosen):
        self._left = list(chosen)
        self._good = ToyDecoder("a", media_type="x/a", delay=0.001)

    async def decode(self, job, deadline):
        if self._left.pop(0):
            raise FaultError("chosen")
        async for event in self._good.decode(job, deadline):
            yield event


def failed_parts(chosen):
    return {part for part, fails in zip(MEDIA, chosen, strict=True) if fails}


@pytest.mark.parametrize("chosen", SUBSETS)
async def test_best_effort_fails_the_parts_that_failed_and_no_other(chosen):
    events = await run_generation(orchestrator_of(SCRIPT, toy_decoders(a=Chosen(chosen))))

    assert {failed.part_id for failed in payloads_of(events, PartFailed)} == failed_parts(chosen)
    assert set(media_of(events)) == set(MEDIA) - failed_parts(chosen)
    assert text_of(events) == "One. Two. Three. Four."
    assert record_of(events).state is (State.PARTIAL if any(chosen) else State.SUCCEEDED)


@pytest.mark.parametrize("chosen", SUBSETS)
async def test_all_or_nothing_succeeds_when_nothing_failed_and_else_stops_all_the_rest(chosen):
    request = request_of(failure_policy=FailurePolicy.ALL_OR_NOTHING)

    events = await run_generation(orchestrator_of(SCRIPT, toy_decoders(a=Chosen(chosen))), request)

    failures = {failed.part_id: failed.error for failed in payloads_of(events, PartFailed)}
    if not any(chosen):
        assert record_of(events).state is State.SUCCEEDED
        assert set(media_of(events)) == set(MEDIA)
        return
    assert record_of(events).state is State.FAILED
    assert record_of(events).error.message == "chosen"
    assert [error.message for error in failures.values()].count("chosen") == 1, "the first failure stops all others"
    assert all(isinstance(error, CancelledError) for error in failures.values() if error.message != "chosen")


@pytest.mark.parametrize("chosen", SUBSETS)
async def test_text_fallback_puts_a_failed_parts_caption_in_its_place(chosen):
    request = request_of(failure_policy=FailurePolicy.TEXT_FALLBACK)

    events = await run_generation(orchestrator_of(SCRIPT, toy_decoders(a=Chosen(chosen))), request)

    stand_ins = {failed.part_id: failed.fallback_part_id for failed in payloads_of(events, PartFailed)}
    assert stand_ins.keys() == failed_parts(chosen)
    captions = dict(zip(MEDIA, ("One.", "Two.", "Three."), strict=True))
    told = {delta.part_id: delta.chunk for delta in payloads_of(events, PartDelta) if isinstance(delta.chunk, str)}
    started = {part.part_id: part for part in payloads_of(events, PartStarted)}
    for part, stand_in in stand_ins.items():
        assert told[stand_in] == captions[part]
        assert started[stand_in].modality == TEXT
        assert started[stand_in].index == started[part].index
    assert set(media_of(events)) == set(MEDIA) - failed_parts(chosen)
    assert record_of(events).state is (State.PARTIAL if any(chosen) else State.SUCCEEDED)


async def test_all_or_nothing_stops_the_language_model_and_the_other_decoders_at_once():
    model = ToyLanguageModel(MANIFEST.grammar, script_of("x", signal_run("b"), signal_run("a"), "then", Pause()))
    hanging = ToyDecoder("b", trouble=Trouble(Pause()))
    broken = ToyDecoder("a", trouble=Trouble(FaultError("broken")))

    events = await run_generation(
        orchestrator_of(model, toy_decoders(a=broken, b=hanging)),
        request_of(failure_policy=FailurePolicy.ALL_OR_NOTHING),
    )

    assert (model.running, hanging.running) == (0, 0)
    reasons = {failed.part_id: failed.error.reason for failed in payloads_of(events, PartFailed)}
    assert reasons["part-1"] is Reason.CANCELLED
    assert reasons["part-2"] is Reason.WORKER_FAULT


@pytest.mark.parametrize(
    "script",
    [
        script_of("x", signal_run("a"), FaultError("broken")),
        script_of("x", signal_run("a"), signal_run("b")[:2], "y"),
    ],
    ids=["the model fails", "a signal breaks"],
)
async def test_all_or_nothing_also_holds_for_what_the_language_model_does(script):
    slow = ToyDecoder("a", delay=1)

    events = await run_generation(
        orchestrator_of(script, toy_decoders(a=slow)), request_of(failure_policy=FailurePolicy.ALL_OR_NOTHING)
    )

    assert record_of(events).state is State.FAILED
    assert not media_of(events)
    assert slow.running == 0


async def test_there_is_no_fallback_where_there_is_no_caption():
    events = await run_generation(
        orchestrator_of(
            script_of(signal_run("a"), "Text."), toy_decoders(a=ToyDecoder("a", trouble=Trouble(FaultError("no"))))
        ),
        request_of(failure_policy=FailurePolicy.TEXT_FALLBACK),
    )

    assert payloads_of(events, PartFailed)[0].fallback_part_id == ""
    assert text_of(events) == "Text."


async def test_an_answer_of_which_only_a_fallback_is_left_is_partial():
    broken = ToyDecoder("a", trouble=Trouble(FaultError("no")))

    events = await run_generation(
        orchestrator_of(script_of("A. ", signal_run("a")), toy_decoders(a=broken)),
        request_of(failure_policy=FailurePolicy.TEXT_FALLBACK),
    )

    assert record_of(events).state is State.PARTIAL


async def test_an_answer_of_which_nothing_is_left_has_failed_for_the_reason_its_first_part_has():
    broken = ToyDecoder("a", trouble=Trouble(FaultError("no")))

    events = await run_generation(orchestrator_of(script_of(signal_run("a")), toy_decoders(a=broken)))

    assert record_of(events).state is State.FAILED
    assert record_of(events).error.message == "no"
