"""Tests of failures: a failing worker fails its own part with a reason, and no other part."""

from __future__ import annotations

import logging

import pytest

from motet.core.errors import (
    DeadlineError,
    FaultError,
    MediaError,
    OverloadedError,
    Reason,
    RequestError,
    RetryableError,
)
from motet.core.events import PartFailed, PartProgress, PartStarted, State
from motet.core.media import Media
from motet.core.workers import Finished, Progress, Signal, SignalBroken, SignalStarted, TextPiece
from motet.toys.workers import UNREADABLE, InjectedFault, Pause, ToyDecoder, tensor_of
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

BOTH = script_of("An a: ", signal_run("a"), " and a b: ", signal_run("b"), ".")


class ScriptedWorker:
    """A language model or decoder that yields the given events. It raises an event that is an exception."""

    def __init__(self, *events):
        self.events = events
        self.yielded = 0
        self.closed = False

    async def _events(self):
        try:
            for event in self.events:
                if isinstance(event, Exception):
                    raise event
                self.yielded += 1
                yield event
        finally:
            self.closed = True

    def generate(self, prompt, deadline):
        return self._events()

    def decode(self, job, deadline):
        return self._events()


def failure_reasons(events):
    """Return the reasons of the failed parts, by part id."""
    return {failed.part_id: failed.error.reason for failed in payloads_of(events, PartFailed)}


FAILURES = {
    "raises": (InjectedFault(FaultError("broken")), Reason.WORKER_FAULT),
    "dies midway": (InjectedFault(RetryableError("gone", Reason.WORKER_LOST), after=1), Reason.WORKER_LOST),
    "hangs": (InjectedFault(Pause()), Reason.DEADLINE_EXCEEDED),
    "hangs midway": (InjectedFault(Pause(), after=1), Reason.DEADLINE_EXCEEDED),
    "is out of memory": (InjectedFault(RetryableError("full", Reason.OUT_OF_MEMORY)), Reason.OUT_OF_MEMORY),
    "refuses": (InjectedFault(RequestError("no", Reason.CONDITIONING_INVALID)), Reason.CONDITIONING_INVALID),
}


@pytest.mark.parametrize("failure", FAILURES)
@in_virtual_time
async def test_a_failed_decoder_fails_its_part_with_its_reason_and_the_other_parts_arrive(failure):
    fault, reason = FAILURES[failure]
    failing = ToyDecoder("a", fault=fault)

    events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=failing), media_job_timeout=0.1))

    assert failure_reasons(events) == {"part-1": reason}
    assert list(media_of(events)) == ["part-3"]
    assert text_of(events) == "An a:  and a b: ."
    assert record_of(events).state is State.PARTIAL
    assert record_of(events).error is None
    assert failing.running == 0


@in_virtual_time
async def test_an_unexpected_exception_or_event_of_a_decoder_is_a_fault_without_details(caplog):
    caplog.set_level(logging.CRITICAL)
    broken = [
        ScriptedWorker(ValueError("secret 0xdeadbeef")),
        ScriptedWorker(Progress(1, 1)),
        ScriptedWorker(Media("x/a", b"")),
    ]
    for decoder in [*broken, ScriptedWorker(TimeoutError("secret"))]:
        events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=decoder)))

        (failed,) = payloads_of(events, PartFailed)
        assert failed.error.reason is Reason.WORKER_FAULT
        assert "secret" not in failed.error.message
        assert record_of(events).state is State.PARTIAL
        assert decoder.closed


@in_virtual_time
async def test_too_large_media_fail():
    events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=ToyDecoder(size=101)), max_media_bytes=100))

    assert failure_reasons(events) == {"part-1": Reason.WORKER_FAULT}


@in_virtual_time
async def test_events_after_the_media_are_ignored():
    decoder = ScriptedWorker(Progress(1, 2), Media("x/a", b"media"), Media("x/a", b"more"))

    events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=decoder)))

    assert media_of(events)["part-1"] == b"media"
    assert (decoder.yielded, decoder.closed) == (2, True)


@pytest.mark.parametrize("step", [Progress(2, 5), Progress(1, 5), Progress(9, 5), Progress(-1, 5), Progress(3, 10**9)])
@in_virtual_time
async def test_progress_that_is_impossible_fails_its_part_only(step):
    steps = [Progress(2, 5), step, Progress(5, 5), Media("x/a", b"media")]

    events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=ScriptedWorker(*steps))))

    assert [p.step for p in payloads_of(events, PartProgress) if p.part_id == "part-1"] == [2]
    assert failure_reasons(events) == {"part-1": Reason.WORKER_FAULT}
    assert list(media_of(events)) == ["part-3"]


@in_virtual_time
async def test_a_job_is_retried_once_if_its_worker_was_unreachable_and_sent_nothing():
    decoder = ToyDecoder("a", fault=InjectedFault(RetryableError("not there"), times=1))

    events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=decoder)))

    assert len(decoder.seen) == 2
    assert decoder.seen[0] == decoder.seen[1]
    assert record_of(events).state is State.SUCCEEDED


@pytest.mark.parametrize(
    ("fault", "attempts"),
    [
        (InjectedFault(RetryableError("not there")), 2),
        (InjectedFault(RetryableError("gone", Reason.WORKER_LOST), after=1), 1),
        (InjectedFault(FaultError("broken")), 1),
        (InjectedFault(DeadlineError("late")), 1),
    ],
)
@in_virtual_time
async def test_a_job_has_at_most_two_attempts_and_one_after_it_sent_an_event(fault, attempts):
    decoder = ToyDecoder("a", fault=fault)

    await run_generation(orchestrator_of(BOTH, toy_decoders(a=decoder)))

    assert len(decoder.seen) == attempts


@in_virtual_time
async def test_a_retry_waits_for_the_time_that_an_overloaded_decoder_names():
    overload = InjectedFault(OverloadedError("busy", retry_after=0.05), times=1)
    events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=ToyDecoder("a", fault=overload))))

    assert record_of(events).state is State.SUCCEEDED
    assert record_of(events).usage.elapsed >= 0.05


@in_virtual_time
async def test_a_failed_part_says_whether_it_may_succeed_later():
    retryable = {}
    for error in (RetryableError("x"), DeadlineError("x"), FaultError("x"), RequestError("x")):
        events = await run_generation(
            orchestrator_of(BOTH, toy_decoders(a=ToyDecoder("a", fault=InjectedFault(error))))
        )
        retryable[type(error)] = payloads_of(events, PartFailed)[0].retryable

    assert retryable == {RetryableError: True, DeadlineError: True, FaultError: False, RequestError: False}


@in_virtual_time
async def test_a_broken_signal_fails_its_part_and_the_generation_continues():
    script = script_of("x", signal_run("a")[:2], "y", signal_run("b")[1:3], signal_run("b"), signal_run("a")[:1])

    events = await run_generation(orchestrator_of(script))

    assert modalities_of(events) == ["text", "a", "text", "b", "b", "b", "a"]
    assert set(failure_reasons(events).values()) == {Reason.SIGNAL_BROKEN}
    assert len(failure_reasons(events)) == 4
    assert list(media_of(events)) == ["part-5"]
    assert record_of(events).state is State.PARTIAL


@in_virtual_time
async def test_a_language_model_that_fails_midway_leaves_its_text_and_the_started_parts():
    script = script_of("Here: ", signal_run("a"), "and then", RetryableError("gone", Reason.WORKER_LOST))

    events = await run_generation(orchestrator_of(script, toy_decoders(a=ToyDecoder("a", delay=0.02))))

    assert text_of(events) == "Here: and then"
    assert list(media_of(events)) == ["part-1"]
    assert not failure_reasons(events)
    assert record_of(events).state is State.PARTIAL
    assert record_of(events).error.reason is Reason.WORKER_LOST


@in_virtual_time
async def test_a_language_model_that_fails_at_once_fails_the_generation():
    events = await run_generation(orchestrator_of([FaultError("no")]))

    assert record_of(events).state is State.FAILED
    assert record_of(events).error.message == "no"


@in_virtual_time
async def test_a_language_model_that_fails_inside_a_run_fails_the_part_with_its_own_reason():
    events = await run_generation(
        orchestrator_of(script_of("x", signal_run("a")[:2], RetryableError("gone", Reason.WORKER_LOST)))
    )

    assert failure_reasons(events) == {"part-1": Reason.WORKER_LOST}


@in_virtual_time
async def test_an_unexpected_exception_or_end_of_a_language_model_is_a_fault(caplog):
    caplog.set_level(logging.CRITICAL)
    for model in (ScriptedWorker(TextPiece("x"), ValueError("secret")), ScriptedWorker(TextPiece("x"))):
        events = await run_generation(orchestrator_of(model))

        assert record_of(events).error.reason is Reason.WORKER_FAULT
        assert "secret" not in record_of(events).error.message
        assert record_of(events).state is State.PARTIAL
        assert model.closed


@in_virtual_time
async def test_signals_in_an_invalid_order_become_separate_parts():
    a, b = (Signal(name, tensor_of(name.encode(), (4,))) for name in "ab")
    model = ScriptedWorker(
        SignalStarted("a"), SignalStarted("b"), b, a, SignalBroken("b", "?"), SignalStarted("a"), TextPiece("x")
    )

    events = await run_generation(
        orchestrator_of(ScriptedWorker(*model.events, SignalStarted("b"), Finished("stop", 1, 9)))
    )

    assert modalities_of(events) == ["a", "b", "a", "b", "a", "text", "b"]
    assert sorted(failure_reasons(events)) == ["part-0", "part-3", "part-4", "part-6"]
    assert sorted(media_of(events)) == ["part-1", "part-2"]


@in_virtual_time
async def test_a_language_model_that_writes_nothing_has_not_succeeded():
    for script in ([], script_of("  \n")):
        assert record_of(await run_generation(orchestrator_of(script))).state is State.FAILED


@in_virtual_time
async def test_a_failed_encoder_fails_the_generation_before_the_language_model_runs():
    orchestrator = orchestrator_of(BOTH)

    events = await run_generation(
        orchestrator, request_of("what is this?", Media("x/a", b"a fine one"), Media("x/b", UNREADABLE))
    )

    assert record_of(events).state is State.FAILED
    assert isinstance(record_of(events).error, MediaError)
    assert record_of(events).error.metadata["index"] == "1"
    assert modalities_of(events) == []


@in_virtual_time
async def test_no_decoder_of_a_modality_that_is_not_allowed_is_called():
    decoders = toy_decoders()

    events = await run_generation(orchestrator_of(BOTH, decoders), request_of(allowed_modalities=frozenset({"b"})))

    assert not decoders["a"].seen
    assert failure_reasons(events) == {"part-1": Reason.MODALITY_NOT_ALLOWED}
    assert list(media_of(events)) == ["part-3"]


@in_virtual_time
async def test_a_request_may_allow_only_text():
    decoders = toy_decoders()
    for allowed in (frozenset(), frozenset({"text"})):
        events = await run_generation(orchestrator_of(BOTH, decoders), request_of(allowed_modalities=allowed))

        assert set(failure_reasons(events).values()) == {Reason.MODALITY_NOT_ALLOWED}
    assert not decoders["a"].seen
    assert not decoders["b"].seen


@in_virtual_time
async def test_the_request_limits_the_number_of_parts():
    decoders = toy_decoders()
    script = script_of(signal_run("a"), signal_run("a"), signal_run("a"), signal_run("b"))

    events = await run_generation(orchestrator_of(script, decoders), request_of(max_parts={"a": 2, "b": 0}))

    assert failure_reasons(events) == {"part-2": Reason.LIMIT_EXCEEDED, "part-3": Reason.LIMIT_EXCEEDED}
    assert (len(decoders["a"].seen), len(decoders["b"].seen)) == (2, 0)


@in_virtual_time
async def test_the_server_limits_the_number_of_parts():
    events = await run_generation(
        orchestrator_of(script_of(*[signal_run("a"), signal_run("b")] * 3), max_parts=3, max_parts_per_modality=2)
    )

    assert len(media_of(events)) == 3
    assert set(failure_reasons(events).values()) == {Reason.LIMIT_EXCEEDED}


@in_virtual_time
async def test_a_signal_of_an_unknown_modality_fails_its_part():
    signal = Signal("z", tensor_of(b"z", (4,)))

    events = await run_generation(
        orchestrator_of(ScriptedWorker(TextPiece("x"), SignalStarted("z"), signal, Finished("stop", 1, 5)))
    )

    assert failure_reasons(events) == {"part-1": Reason.MODALITY_NOT_SUPPORTED}
    assert payloads_of(events, PartFailed)[0].error.metadata["supported"] == "a, b"


@pytest.mark.parametrize(
    "tokens",
    [signal_run("a"), signal_run("a")[:2], signal_run("a")[1:2]],
    ids=["complete", "without an end", "without a start"],
)
@in_virtual_time
async def test_a_language_model_that_sends_endless_signals_is_stopped(tokens):
    def endless(prompt):
        while True:
            yield from tokens

    events = await run_generation(orchestrator_of(endless, max_parts=3, max_refused_signals=5))

    assert len(payloads_of(events, PartStarted)) <= 3 + 6
    assert record_of(events).error.reason is Reason.LIMIT_EXCEEDED


@in_virtual_time
async def test_a_language_model_that_writes_endless_text_is_stopped():
    class Endless:
        async def generate(self, prompt, deadline):
            while True:
                yield TextPiece("la " * 10)

    events = await run_generation(orchestrator_of(Endless(), max_text_length=1000))

    assert record_of(events).error.reason is Reason.LIMIT_EXCEEDED
    assert len(text_of(events)) < 1100


@in_virtual_time
async def test_a_modality_without_a_deployed_decoder_is_not_supported():
    only_a = {"a": toy_decoders()["a"]}
    orchestrator = orchestrator_of(BOTH, only_a)

    events = await run_generation(orchestrator)

    assert failure_reasons(events) == {"part-3": Reason.MODALITY_NOT_SUPPORTED}
    assert [output.modality for output in (await orchestrator.models())[0].outputs] == ["a"]
