"""Tests of the event writer: the grammar holds for any order of calls."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from motet.core.errors import CancelledError, DeadlineError, FaultError
from motet.core.events import Artifact, PartFailed, State
from motet.core.workers import Progress
from orchestrator.generation.event_writer import EventWriter
from orchestrator.generation.events.event_log import EventLog
from tests.orchestrator.event_grammar import check_events

names = st.sampled_from([f"part-{number}" for number in range(6)])
calls = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(["a", "b. ", " ", ""])),
    st.tuples(st.just("end_text")),
    st.tuples(st.just("start_media"), st.just("a"), st.just("x/a")),
    st.tuples(st.just("progress"), names, st.builds(Progress, st.integers(0, 4), st.integers(1, 3))),
    st.tuples(st.just("complete"), names),
    st.tuples(st.just("fail"), names, st.sampled_from([FaultError("x"), CancelledError("x")])),
    st.tuples(st.just("complete_plan")),
    st.tuples(st.just("set_usage"), st.just(1), st.just(2)),
    st.tuples(st.just("finish"), st.sampled_from([None, DeadlineError("x"), CancelledError("x"), FaultError("x")])),
)


def result_of(data=b"media"):
    return ((data,), Artifact("artifacts/x", "a", "x/a", len(data), sha256(data).digest(), 0.0), {})


def replay(writer, script):
    planned = False
    for name, *arguments in script:
        if name == "start_media" and planned:
            continue  # no part may start after the complete plan
        planned = planned or name in ("complete_plan", "finish")
        options = {"kept_for": 1.0} if name == "finish" else {}
        getattr(writer, name)(*arguments, *(result_of() if name == "complete" else ()), **options)


@settings(max_examples=400, deadline=None)
@given(st.lists(calls, max_size=30), st.booleans())
async def test_no_order_of_calls_breaks_the_grammar(script, fallback):
    log = EventLog()
    writer = EventWriter("generations/x", log, fallback=fallback)
    writer.accept(1, None)

    replay(writer, script)
    writer.finish(kept_for=1.0)

    check_events([event async for event in log.follow()])


async def test_no_event_is_written_after_done():
    log = EventLog()
    writer = EventWriter("generations/x", log)
    writer.accept(1, None)
    part = writer.start_media("a", "x/a")
    writer.finish(CancelledError("enough"), kept_for=1.0)
    length = len(log)

    writer.write("more")
    writer.progress(part.id, Progress(1, 2))
    writer.complete(part.id, *result_of())
    writer.set_usage(1, 2)
    writer.start_media("a", "x/a")
    writer.finish(FaultError("again"))

    assert len(log) == length
    assert writer.record().state is State.CANCELLED


async def test_open_parts_fail_at_the_end_with_their_own_error():
    log = EventLog()
    writer = EventWriter("generations/x", log)
    writer.accept(1, None)
    writer.start_media("a", "x/a")
    writer.finish(
        FaultError("the first"), open_parts_error=CancelledError("the others"), all_or_nothing=True, kept_for=1.0
    )

    events = [event async for event in log.follow()]
    check_events(events)
    assert [event.payload.error.message for event in events if isinstance(event.payload, PartFailed)] == ["the others"]
    assert writer.record().error.message == "the first"
