"""The client's check of the grammar of events."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from motet.client.event_checker import EventChecker
from motet.core import events as ev
from motet.core.errors import FaultError, Reason, RetryableError
from tests.scripted_motet import NAME, PICTURE, artifact_of, done

ACCEPTED = ev.Accepted(NAME, 7)
TEXT = ev.PartStarted("t", 0, ev.TEXT, "text/plain", 0)
PLAN = ev.PlanGrown((ev.PlanNode("m", "image"),), complete=False)
TAKEN = ev.PlanInput("image", part_id="m")
EDGES = (*PLAN.nodes, ev.PlanNode("n", "film", (TAKEN, ev.PlanInput("audio", artifact="artifacts/a"))))
MEDIA = ev.PartStarted("m", 1, "image", "image/png", 2)
TEXT_DONE, MEDIA_DONE = ev.PartDone("t", b"s"), ev.PartDone("m", PICTURE.sha256, artifact_of(PICTURE))
FAILED = ev.PartFailed("m", RetryableError("lost"))
STARTED = [ACCEPTED, PLAN, TEXT, MEDIA]

VALID = [
    *STARTED,
    ev.PartDelta("t", 0, "hé"),
    ev.PartProgress("m", 1, 3),
    ev.PartDelta("t", 2, "llo"),
    ev.PartProgress("m", 1, 2),
    TEXT_DONE,
    ev.PlanGrown(PLAN.nodes, complete=True),
    ev.PartDelta("m", 0, b"12"),
    ev.PartDelta("m", 2, b"3"),
    ev.Usage(1, 2, 3),
    MEDIA_DONE,
    done(),
]
BROKEN: dict[str, Sequence[ev.EventPayload]] = {
    "no accepted": [TEXT],
    "accepted twice": [ACCEPTED, ACCEPTED],
    "a delta of an unknown part": [ACCEPTED, ev.PartDelta("t", 0, "x")],
    "progress of an unknown part": [ACCEPTED, ev.PartProgress("m", 1, 2)],
    "the end of an unknown part": [ACCEPTED, TEXT_DONE],
    "the failure of an unknown part": [ACCEPTED, FAILED],
    "a part that starts twice": [ACCEPTED, TEXT, TEXT],
    "a part that starts again": [ACCEPTED, TEXT, TEXT_DONE, TEXT],
    "a part that ends twice": [*STARTED, MEDIA_DONE, FAILED],
    "a delta after the end": [*STARTED, TEXT_DONE, ev.PartDelta("t", 0, "x")],
    "media without a plan": [ACCEPTED, MEDIA],
    "a negative index": [ACCEPTED, ev.PartStarted("t", -1, ev.TEXT, "text/plain", 0)],
    "a negative anchor": [ACCEPTED, ev.PartStarted("t", 0, ev.TEXT, "text/plain", -1)],
    "bytes as text": [*STARTED, ev.PartDelta("t", 0, b"\xff")],
    "text as bytes": [*STARTED, ev.PartDelta("m", 0, "x")],
    "a gap between chunks": [*STARTED, ev.PartDelta("t", 1, "x")],
    "a chunk that repeats": [*STARTED, ev.PartDelta("t", 0, "x"), ev.PartDelta("t", 0, "x")],
    "progress of text": [*STARTED, ev.PartProgress("t", 1, 2)],
    "negative progress": [*STARTED, ev.PartProgress("m", -1, 2)],
    "progress beyond the total": [*STARTED, ev.PartProgress("m", 3, 2)],
    "progress of zero steps": [*STARTED, ev.PartProgress("m", 0, 0)],
    "progress that goes back": [*STARTED, ev.PartProgress("m", 2, 3), ev.PartProgress("m", 1, 3)],
    "text with an artifact": [*STARTED, ev.PartDone("t", b"s", artifact_of(PICTURE))],
    "media without an artifact": [*STARTED, ev.PartDone("m", b"s")],
    "a plan that shrinks": [ACCEPTED, PLAN, ev.PlanGrown((), complete=False)],
    "a plan after the complete plan": [ACCEPTED, ev.PlanGrown((), complete=True), PLAN],
    "a part that takes itself": [ACCEPTED, ev.PlanGrown((ev.PlanNode("m", "image", (TAKEN,)),), complete=False)],
    "a part that takes a later part": [
        ACCEPTED,
        ev.PlanGrown((ev.PlanNode("n", "film", (TAKEN,)), *PLAN.nodes), complete=False),
    ],
    "an open part at the end": [*STARTED, TEXT_DONE, done()],
    "done, but running": [ACCEPTED, done(ev.State.RUNNING)],
    "success with a failure": [*STARTED, TEXT_DONE, FAILED, done()],
}


def check(payloads: Sequence[ev.EventPayload], after: int = 0) -> None:
    checker = EventChecker("Motet at here", after)
    for sequence, payload in enumerate(payloads, start=after + 1):
        checker.check(ev.Event(sequence, 1.5e9, payload))


def test_the_events_of_a_complete_generation_pass() -> None:
    check(VALID)


def test_a_part_may_take_earlier_parts_and_artifacts() -> None:
    check([ACCEPTED, PLAN, ev.PlanGrown(EDGES, complete=False), ev.PlanGrown(EDGES, complete=True)])
    check([ev.PlanGrown(EDGES, complete=True)], after=5)


@pytest.mark.parametrize("case", BROKEN)
def test_events_that_break_the_grammar_are_refused(case: str) -> None:
    *before, last = BROKEN[case]
    checker = EventChecker("Motet at here")
    for sequence, payload in enumerate(before, start=1):
        checker.check(ev.Event(sequence, 1.5e9, payload))

    with pytest.raises(FaultError, match="Motet at here broke the contract") as caught:
        checker.check(ev.Event(len(before) + 1, 1.5e9, last))

    assert caught.value.reason is Reason.EVENTS_INVALID


@pytest.mark.parametrize("after", range(1, len(VALID)))
def test_a_stream_may_begin_after_any_event(after: int) -> None:
    check(VALID[after:], after)


@pytest.mark.parametrize("sequence", [-1, 0, 1, 3])
def test_sequence_numbers_have_no_gaps(sequence: int) -> None:
    checker = EventChecker("Motet at here")
    checker.check(ev.Event(1, 1.5e9, ACCEPTED))

    with pytest.raises(FaultError, match=f"event {sequence} follows event 1"):
        checker.check(ev.Event(sequence, 1.5e9, TEXT))


def test_heartbeats_and_unknown_events_have_sequence_numbers_too() -> None:
    checker = EventChecker("Motet at here")
    checker.check(ev.Event(1, 1.5e9, ACCEPTED))

    checker.skip(1)
    checker.skip(2)
    checker.check(ev.Event(3, 1.5e9, TEXT))
    with pytest.raises(FaultError, match="event 7 follows event 3"):
        checker.skip(7)
