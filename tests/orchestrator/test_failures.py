"""What goes wrong in one worker is told, and harms nothing else."""

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
from motet.toys.workers import UNREADABLE, Pause, ToyDecoder, Trouble, tensor_of
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

BOTH = script_of("An a: ", signal_run("a"), " and a b: ", signal_run("b"), ".")


class Says:
    """A worker that says just what it is told to, and raises the last of it if that is an error."""

    def __init__(self, *events):
        self.events = events
        self.heard = 0
        self.closed = False

    async def _say(self):
        try:
            for event in self.events:
                if isinstance(event, Exception):
                    raise event
                self.heard += 1
                yield event
        finally:
            self.closed = True

    def generate(self, prompt, deadline):
        return self._say()

    def decode(self, job, deadline):
        return self._say()


def fails(events):
    """Part id to the reason it failed for."""
    return {failed.part_id: failed.error.reason for failed in payloads_of(events, PartFailed)}


TROUBLES = {
    "raises": (Trouble(FaultError("broken")), Reason.WORKER_FAULT),
    "dies midway": (Trouble(RetryableError("gone", Reason.WORKER_LOST), after=1), Reason.WORKER_LOST),
    "hangs": (Trouble(Pause()), Reason.DEADLINE_EXCEEDED),
    "hangs midway": (Trouble(Pause(), after=1), Reason.DEADLINE_EXCEEDED),
    "is out of memory": (Trouble(RetryableError("full", Reason.OUT_OF_MEMORY)), Reason.OUT_OF_MEMORY),
    "refuses": (Trouble(RequestError("no", Reason.CONDITIONING_INVALID)), Reason.CONDITIONING_INVALID),
}


@pytest.mark.parametrize("trouble", TROUBLES)
async def test_a_decoder_that_fails_is_told_with_its_reason_and_the_other_parts_arrive(trouble):
    what, reason = TROUBLES[trouble]
    troubled = ToyDecoder("a", trouble=what)

    events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=troubled), step_timeout=0.1))

    assert fails(events) == {"part-1": reason}
    assert list(media_of(events)) == ["part-3"]
    assert text_of(events) == "An a:  and a b: ."
    assert record_of(events).state is State.PARTIAL
    assert record_of(events).error is None
    assert troubled.running == 0


async def test_a_decoder_that_breaks_its_promise_is_a_fault_that_shows_nothing_of_its_inside(caplog):
    caplog.set_level(logging.CRITICAL)
    broken = [Says(ValueError("secret 0xdeadbeef")), Says(Progress(1, 1)), Says(Media("x/a", b""))]
    for decoder in [*broken, Says(TimeoutError("secret"))]:
        events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=decoder)))

        (failed,) = payloads_of(events, PartFailed)
        assert failed.error.reason is Reason.WORKER_FAULT
        assert "secret" not in failed.error.message
        assert record_of(events).state is State.PARTIAL
        assert decoder.closed


async def test_media_that_are_larger_than_allowed_fail():
    events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=ToyDecoder(size=101)), max_media_bytes=100))

    assert fails(events) == {"part-1": Reason.WORKER_FAULT}


async def test_what_a_decoder_says_after_its_media_is_not_listened_to():
    decoder = Says(Progress(1, 2), Media("x/a", b"made"), Media("x/a", b"again"))

    events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=decoder)))

    assert media_of(events)["part-1"] == b"made"
    assert (decoder.heard, decoder.closed) == (2, True)


async def test_progress_that_goes_nowhere_is_not_told():
    steps = [Progress(2, 5), Progress(2, 5), Progress(1, 5), Progress(9, 5), Progress(3, 5), Media("x/a", b"made")]

    events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=Says(*steps))))

    assert [p.step for p in payloads_of(events, PartProgress) if p.part_id == "part-1"] == [2, 3]


async def test_a_step_is_tried_once_more_when_its_worker_was_not_there_and_nothing_was_told():
    decoder = ToyDecoder("a", trouble=Trouble(RetryableError("not there"), times=1))

    events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=decoder)))

    assert len(decoder.seen) == 2
    assert decoder.seen[0] == decoder.seen[1]
    assert record_of(events).state is State.SUCCEEDED


@pytest.mark.parametrize(
    ("trouble", "tries"),
    [
        (Trouble(RetryableError("not there")), 2),
        (Trouble(RetryableError("gone", Reason.WORKER_LOST), after=1), 1),
        (Trouble(FaultError("broken")), 1),
        (Trouble(DeadlineError("late")), 1),
    ],
)
async def test_a_step_is_not_tried_again_for_ever_nor_after_it_was_told_of(trouble, tries):
    decoder = ToyDecoder("a", trouble=trouble)

    await run_generation(orchestrator_of(BOTH, toy_decoders(a=decoder)))

    assert len(decoder.seen) == tries


async def test_an_overloaded_decoder_is_given_the_time_it_asks_for():
    overload = Trouble(OverloadedError("busy", retry_after=0.05), times=1)
    events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=ToyDecoder("a", trouble=overload))))

    assert record_of(events).state is State.SUCCEEDED
    assert record_of(events).usage.elapsed > 0.05


async def test_whether_a_failed_part_may_succeed_later_is_told():
    later = {}
    for error in (RetryableError("x"), DeadlineError("x"), FaultError("x"), RequestError("x")):
        events = await run_generation(orchestrator_of(BOTH, toy_decoders(a=ToyDecoder("a", trouble=Trouble(error)))))
        later[type(error)] = payloads_of(events, PartFailed)[0].retryable

    assert later == {RetryableError: True, DeadlineError: True, FaultError: False, RequestError: False}


async def test_a_broken_signal_fails_its_part_and_the_rest_goes_on():
    script = script_of("x", signal_run("a")[:2], "y", signal_run("b")[1:3], signal_run("b"), signal_run("a")[:1])

    events = await run_generation(orchestrator_of(script))

    assert modalities_of(events) == ["text", "a", "text", "b", "b", "b", "a"]
    assert set(fails(events).values()) == {Reason.SIGNAL_BROKEN}
    assert len(fails(events)) == 4
    assert list(media_of(events)) == ["part-5"]
    assert record_of(events).state is State.PARTIAL


async def test_a_language_model_that_fails_midway_leaves_its_text_and_the_parts_it_began():
    script = script_of("Here: ", signal_run("a"), "and then", RetryableError("gone", Reason.WORKER_LOST))

    events = await run_generation(orchestrator_of(script, toy_decoders(a=ToyDecoder("a", delay=0.02))))

    assert text_of(events) == "Here: and then"
    assert list(media_of(events)) == ["part-1"]
    assert not fails(events)
    assert record_of(events).state is State.PARTIAL
    assert record_of(events).error.reason is Reason.WORKER_LOST


async def test_a_language_model_that_fails_at_once_fails_the_generation():
    events = await run_generation(orchestrator_of([FaultError("no")]))

    assert record_of(events).state is State.FAILED
    assert record_of(events).error.message == "no"


async def test_a_language_model_that_fails_inside_a_run_fails_the_part_with_its_own_reason():
    events = await run_generation(
        orchestrator_of(script_of("x", signal_run("a")[:2], RetryableError("gone", Reason.WORKER_LOST)))
    )

    assert fails(events) == {"part-1": Reason.WORKER_LOST}


async def test_a_language_model_that_breaks_its_promise_is_a_fault(caplog):
    caplog.set_level(logging.CRITICAL)
    for model in (Says(TextPiece("x"), ValueError("secret")), Says(TextPiece("x"))):
        events = await run_generation(orchestrator_of(model))

        assert record_of(events).error.reason is Reason.WORKER_FAULT
        assert "secret" not in record_of(events).error.message
        assert record_of(events).state is State.PARTIAL
        assert model.closed


async def test_signals_that_come_in_no_sensible_order_are_told_apart():
    a, b = (Signal(name, tensor_of(name.encode(), (4,))) for name in "ab")
    model = Says(
        SignalStarted("a"), SignalStarted("b"), b, a, SignalBroken("b", "?"), SignalStarted("a"), TextPiece("x")
    )

    events = await run_generation(orchestrator_of(Says(*model.events, SignalStarted("b"), Finished("stop", 1, 9))))

    assert modalities_of(events) == ["a", "b", "a", "b", "a", "text", "b"]
    assert sorted(fails(events)) == ["part-0", "part-3", "part-4", "part-6"]
    assert sorted(media_of(events)) == ["part-1", "part-2"]


async def test_a_language_model_that_writes_nothing_has_not_succeeded():
    for script in ([], script_of("  \n")):
        assert record_of(await run_generation(orchestrator_of(script))).state is State.FAILED


async def test_an_encoder_that_fails_fails_the_generation_and_the_model_is_not_asked():
    orchestrator = orchestrator_of(BOTH)

    events = await run_generation(
        orchestrator, request_of("what is this?", Media("x/a", b"a fine one"), Media("x/b", UNREADABLE))
    )

    assert record_of(events).state is State.FAILED
    assert isinstance(record_of(events).error, MediaError)
    assert record_of(events).error.metadata["index"] == "1"
    assert modalities_of(events) == []


async def test_no_decoder_outside_what_is_allowed_is_ever_called_whatever_the_model_writes():
    made = toy_decoders()

    events = await run_generation(orchestrator_of(BOTH, made), request_of(allowed_modalities=frozenset({"b"})))

    assert not made["a"].seen
    assert fails(events) == {"part-1": Reason.MODALITY_NOT_ALLOWED}
    assert list(media_of(events)) == ["part-3"]


async def test_text_alone_may_be_asked_for():
    made = toy_decoders()
    for allowed in (frozenset(), frozenset({"text"})):
        events = await run_generation(orchestrator_of(BOTH, made), request_of(allowed_modalities=allowed))

        assert set(fails(events).values()) == {Reason.MODALITY_NOT_ALLOWED}
    assert not made["a"].seen
    assert not made["b"].seen


async def test_no_more_parts_are_made_than_the_request_allows():
    made = toy_decoders()
    script = script_of(signal_run("a"), signal_run("a"), signal_run("a"), signal_run("b"))

    events = await run_generation(orchestrator_of(script, made), request_of(max_parts={"a": 2, "b": 0}))

    assert fails(events) == {"part-2": Reason.LIMIT_EXCEEDED, "part-3": Reason.LIMIT_EXCEEDED}
    assert (len(made["a"].seen), len(made["b"].seen)) == (2, 0)


async def test_no_more_parts_are_made_than_the_server_allows():
    events = await run_generation(
        orchestrator_of(script_of(*[signal_run("a"), signal_run("b")] * 3), max_parts=3, max_parts_each=2)
    )

    assert len(media_of(events)) == 3
    assert set(fails(events).values()) == {Reason.LIMIT_EXCEEDED}


async def test_a_modality_that_nothing_makes_is_told_and_not_looked_for():
    signal = Signal("z", tensor_of(b"z", (4,)))

    events = await run_generation(
        orchestrator_of(Says(TextPiece("x"), SignalStarted("z"), signal, Finished("stop", 1, 5)))
    )

    assert fails(events) == {"part-1": Reason.MODALITY_NOT_SUPPORTED}
    assert payloads_of(events, PartFailed)[0].error.metadata["supported"] == "a, b"


@pytest.mark.parametrize(
    "tokens", [signal_run("a"), signal_run("a")[:2], signal_run("a")[1:2]], ids=["whole", "cut", "headless"]
)
async def test_a_language_model_that_asks_without_end_is_stopped(tokens):
    def endless(prompt):
        while True:
            yield from tokens

    events = await run_generation(orchestrator_of(endless, max_parts=3, max_refused_signals=5))

    assert len(payloads_of(events, PartStarted)) <= 3 + 6
    assert record_of(events).error.reason is Reason.LIMIT_EXCEEDED


async def test_a_language_model_that_writes_without_end_is_stopped():
    class Endless:
        async def generate(self, prompt, deadline):
            while True:
                yield TextPiece("la " * 10)

    events = await run_generation(orchestrator_of(Endless(), max_text_length=1000))

    assert record_of(events).error.reason is Reason.LIMIT_EXCEEDED
    assert len(text_of(events)) < 1100


async def test_a_modality_whose_decoder_is_not_deployed_is_not_made():
    only_a = {"a": toy_decoders()["a"]}
    orchestrator = orchestrator_of(BOTH, only_a)

    events = await run_generation(orchestrator)

    assert fails(events) == {"part-3": Reason.MODALITY_NOT_SUPPORTED}
    assert [output.modality for output in (await orchestrator.models())[0].outputs] == ["a"]
