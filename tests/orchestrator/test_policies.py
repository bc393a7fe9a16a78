"""Tests of failure policies: every subset of failures under every policy."""

from __future__ import annotations

from itertools import product

import pytest

from motet.core.errors import CancelledError, FaultError, Reason
from motet.core.events import TEXT, PartDelta, PartFailed, PartStarted, State
from motet.core.request import FailurePolicy
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyLanguageModel
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
from tests.waiting import in_virtual_time

SCRIPT = script_of("One. ", signal_run("a"), "Two. ", signal_run("a"), "Three. ", signal_run("a"), "Four.")
MEDIA = ("part-1", "part-3", "part-5")
SUBSETS = list(product((False, True), repeat=3))


class SelectivelyFailingDecoder:
    """A decoder that fails the jobs for which `failing` holds True, in order of arrival."""

    def __init__(self, failing):
        self._failing = list(failing)
        self._toy = ToyDecoder("a", media_type="x/a", delay=0.001)

    async def decode(self, job, deadline):
        if self._failing.pop(0):
            raise FaultError("selected")
        async for event in self._toy.decode(job, deadline):
            yield event


def failed_parts(failing):
    return {part for part, fails in zip(MEDIA, failing, strict=True) if fails}


@pytest.mark.parametrize("failing", SUBSETS)
@in_virtual_time
async def test_best_effort_fails_only_the_failed_parts(failing):
    events = await run_generation(orchestrator_of(SCRIPT, toy_decoders(a=SelectivelyFailingDecoder(failing))))

    assert {failed.part_id for failed in payloads_of(events, PartFailed)} == failed_parts(failing)
    assert set(media_of(events)) == set(MEDIA) - failed_parts(failing)
    assert text_of(events) == "One. Two. Three. Four."
    assert record_of(events).state is (State.PARTIAL if any(failing) else State.SUCCEEDED)


@pytest.mark.parametrize("failing", SUBSETS)
@in_virtual_time
async def test_all_or_nothing_succeeds_without_failures_and_else_cancels_all_other_parts(failing):
    request = request_of(failure_policy=FailurePolicy.ALL_OR_NOTHING)

    events = await run_generation(orchestrator_of(SCRIPT, toy_decoders(a=SelectivelyFailingDecoder(failing))), request)

    failures = {failed.part_id: failed.error for failed in payloads_of(events, PartFailed)}
    if not any(failing):
        assert record_of(events).state is State.SUCCEEDED
        assert set(media_of(events)) == set(MEDIA)
        return
    assert record_of(events).state is State.FAILED
    assert record_of(events).error.message == "selected"
    assert [error.message for error in failures.values()].count("selected") == 1, "the first failure cancels all others"
    assert all(isinstance(error, CancelledError) for error in failures.values() if error.message != "selected")


@pytest.mark.parametrize("failing", SUBSETS)
@in_virtual_time
async def test_text_fallback_replaces_a_failed_part_by_its_caption(failing):
    request = request_of(failure_policy=FailurePolicy.TEXT_FALLBACK)

    events = await run_generation(orchestrator_of(SCRIPT, toy_decoders(a=SelectivelyFailingDecoder(failing))), request)

    fallbacks = {failed.part_id: failed.fallback_part_id for failed in payloads_of(events, PartFailed)}
    assert fallbacks.keys() == failed_parts(failing)
    captions = dict(zip(MEDIA, ("One.", "Two.", "Three."), strict=True))
    texts = {delta.part_id: delta.chunk for delta in payloads_of(events, PartDelta) if isinstance(delta.chunk, str)}
    started = {part.part_id: part for part in payloads_of(events, PartStarted)}
    for part, fallback in fallbacks.items():
        assert texts[fallback] == captions[part]
        assert started[fallback].modality == TEXT
        assert started[fallback].index == started[part].index
    assert set(media_of(events)) == set(MEDIA) - failed_parts(failing)
    assert record_of(events).state is (State.PARTIAL if any(failing) else State.SUCCEEDED)


@in_virtual_time
async def test_all_or_nothing_stops_the_language_model_and_the_other_decoders_at_once():
    model = ToyLanguageModel(MANIFEST.grammar, script_of("x", signal_run("b"), signal_run("a"), "then", Pause()))
    hanging = ToyDecoder("b", fault=InjectedFault(Pause()))
    broken = ToyDecoder("a", fault=InjectedFault(FaultError("broken")))

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
@in_virtual_time
async def test_all_or_nothing_also_applies_to_failures_of_the_language_model(script):
    slow = ToyDecoder("a", delay=1)

    events = await run_generation(
        orchestrator_of(script, toy_decoders(a=slow)), request_of(failure_policy=FailurePolicy.ALL_OR_NOTHING)
    )

    assert record_of(events).state is State.FAILED
    assert not media_of(events)
    assert slow.running == 0


@in_virtual_time
async def test_a_part_without_a_caption_has_no_fallback():
    events = await run_generation(
        orchestrator_of(
            script_of(signal_run("a"), "Text."), toy_decoders(a=ToyDecoder("a", fault=InjectedFault(FaultError("no"))))
        ),
        request_of(failure_policy=FailurePolicy.TEXT_FALLBACK),
    )

    assert payloads_of(events, PartFailed)[0].fallback_part_id == ""
    assert text_of(events) == "Text."


@in_virtual_time
async def test_an_answer_with_a_fallback_only_is_partial():
    broken = ToyDecoder("a", fault=InjectedFault(FaultError("no")))

    events = await run_generation(
        orchestrator_of(script_of("A. ", signal_run("a")), toy_decoders(a=broken)),
        request_of(failure_policy=FailurePolicy.TEXT_FALLBACK),
    )

    assert record_of(events).state is State.PARTIAL


@in_virtual_time
async def test_an_answer_without_a_usable_part_fails_with_the_error_of_its_first_part():
    broken = ToyDecoder("a", fault=InjectedFault(FaultError("no")))

    events = await run_generation(orchestrator_of(script_of(signal_run("a")), toy_decoders(a=broken)))

    assert record_of(events).state is State.FAILED
    assert record_of(events).error.message == "no"
