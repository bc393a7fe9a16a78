"""Media that a limit suppresses, and answers that a limit cuts, are reported to the caller."""

from __future__ import annotations

import pytest

from motet.core.errors import Reason
from motet.core.events import PartFailed, PartStarted, State
from motet.core.request import FailurePolicy
from motet.core.workers import Finished, SignalSuppressed, TextPiece
from tests.orchestrator.pipeline_harness import (
    media_of,
    modalities_of,
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


class SuppressingModel:
    """A language model that writes a caption, requests media and suppresses the request, and then goes on."""

    def __init__(self, limit, reason="stop"):
        self._events = [
            TextPiece("Here is an a."),
            SignalSuppressed("a", limit),
            TextPiece(" Done."),
            Finished(reason, 3, 20),
        ]

    async def generate(self, prompt, deadline):
        for event in self._events:
            yield event


@pytest.mark.parametrize(
    ("limit", "options", "reason"),
    [
        ("ceiling", {"allowed_modalities": frozenset({"b"})}, Reason.MODALITY_NOT_ALLOWED),
        ("ceiling", {"allowed_modalities": frozenset()}, Reason.MODALITY_NOT_ALLOWED),
        ("ceiling", {"max_parts": {"a": 0}}, Reason.LIMIT_EXCEEDED),
        ("ceiling", {}, Reason.LIMIT_EXCEEDED),
        ("length", {}, Reason.LIMIT_EXCEEDED),
        ("length", {"allowed_modalities": frozenset({"b"})}, Reason.MODALITY_NOT_ALLOWED),
    ],
)
@in_virtual_time
async def test_suppressed_media_are_a_failed_part_and_no_decoder_is_called(limit, options, reason):
    decoders = toy_decoders()

    events = await run_generation(orchestrator_of(SuppressingModel(limit), decoders), request_of(**options))

    assert modalities_of(events) == ["text", "a", "text"]
    [failed] = payloads_of(events, PartFailed)
    assert (failed.part_id, failed.error.reason, failed.retryable) == ("part-1", reason, False)
    assert failed.error.metadata["modality"] == "a"
    assert payloads_of(events, PartStarted)[1].caption == "Here is an a."
    assert text_of(events) == "Here is an a. Done."
    assert record_of(events).state is State.PARTIAL
    assert not media_of(events)
    assert not any(decoder.seen for decoder in decoders.values())


@in_virtual_time
async def test_media_that_need_more_tokens_than_are_left_name_the_limit():
    events = await run_generation(orchestrator_of(SuppressingModel("length")))

    [failed] = payloads_of(events, PartFailed)
    assert "raise max_output_tokens" in failed.error.message
    assert failed.error.metadata == {"modality": "a", "field": "max_output_tokens"}


@in_virtual_time
async def test_suppressed_media_fail_an_answer_that_needs_all_parts():
    events = await run_generation(
        orchestrator_of(SuppressingModel("ceiling")),
        request_of(allowed_modalities=frozenset(), failure_policy=FailurePolicy.ALL_OR_NOTHING),
    )

    assert record_of(events).state is State.FAILED
    assert record_of(events).error.reason is Reason.MODALITY_NOT_ALLOWED


@in_virtual_time
async def test_a_language_model_that_suppresses_endless_signals_is_stopped():
    class Endless:
        async def generate(self, prompt, deadline):
            while True:
                yield SignalSuppressed("a", "ceiling")

    events = await run_generation(orchestrator_of(Endless(), max_refused_signals=5))

    assert len(payloads_of(events, PartFailed)) == 6
    assert record_of(events).error.reason is Reason.LIMIT_EXCEEDED


@in_virtual_time
async def test_an_answer_that_is_cut_is_partial_and_its_error_names_the_limit():
    script = script_of("Here is an a.", signal_run("a"), " And this is the end of it.")

    events = await run_generation(orchestrator_of(script), request_of(max_output_tokens=20))

    record = record_of(events)
    assert text_of(events) == "Here is an a. An"[: 20 - 4 + 0]
    assert list(media_of(events)) == ["part-1"], "media requested before the cut are complete"
    assert not record.failures
    assert record.state is State.PARTIAL
    assert record.error.reason is Reason.LIMIT_EXCEEDED
    assert record.error.metadata == {"field": "max_output_tokens", "output_tokens": "20"}
    assert "raise max_output_tokens" in record.error.message


@in_virtual_time
async def test_media_that_do_not_fit_are_reported_and_no_other_media_take_their_place():
    decoders = toy_decoders()
    script = script_of("An a:", signal_run("a"), " and a b:", signal_run("b"))

    events = await run_generation(orchestrator_of(script, decoders), request_of(max_output_tokens=8))

    assert modalities_of(events) == ["text", "a"]
    assert [failed.error.reason for failed in payloads_of(events, PartFailed)] == [Reason.LIMIT_EXCEEDED]
    assert not any(decoder.seen for decoder in decoders.values())


@in_virtual_time
async def test_a_cut_answer_has_failed_if_the_request_needs_all_of_it():
    events = await run_generation(
        orchestrator_of(script_of("A long text.")),
        request_of(max_output_tokens=5, failure_policy=FailurePolicy.ALL_OR_NOTHING),
    )

    assert record_of(events).state is State.FAILED
    assert record_of(events).error.reason is Reason.LIMIT_EXCEEDED
