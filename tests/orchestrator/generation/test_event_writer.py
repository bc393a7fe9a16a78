"""The answer keeps the grammar, whoever calls in whatever order."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st

from motet.core.errors import CancelledError, DeadlineError, FaultError
from motet.core.events import Artifact, PartFailed, State
from motet.core.workers import Progress
from orchestrator.generation.event_log import EventLog
from orchestrator.generation.event_writer import EventWriter
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


def made(data=b"media"):
    return ((data,), Artifact("artifacts/x", "a", "x/a", len(data), sha256(data).digest(), 0.0), {})


def replay(answer, script):
    planned = False
    for name, *arguments in script:
        if name == "start_media" and planned:
            continue  # after the last plan nobody asks
        planned = planned or name in ("complete_plan", "finish")
        options = {"kept_for": 1.0} if name == "finish" else {}
        getattr(answer, name)(*arguments, *(made() if name == "complete" else ()), **options)


@settings(max_examples=400, deadline=None)
@given(st.lists(calls, max_size=30), st.booleans())
async def test_no_order_of_calls_breaks_the_grammar(script, fallback):
    log = EventLog()
    answer = EventWriter("generations/x", log, fallback=fallback)
    answer.accept(1, None)

    replay(answer, script)
    answer.finish(kept_for=1.0)

    check_events([event async for event in log.follow()])


async def test_nothing_is_told_after_the_end():
    log = EventLog()
    answer = EventWriter("generations/x", log)
    answer.accept(1, None)
    part = answer.start_media("a", "x/a")
    answer.finish(CancelledError("enough"), kept_for=1.0)
    told = len(log)

    answer.write("more")
    answer.progress(part.id, Progress(1, 2))
    answer.complete(part.id, *made())
    answer.set_usage(1, 2)
    answer.start_media("a", "x/a")
    answer.finish(FaultError("again"))

    assert len(log) == told
    assert answer.record().state is State.CANCELLED


async def test_what_is_open_at_the_end_fails_for_the_reason_of_the_rest():
    log = EventLog()
    answer = EventWriter("generations/x", log)
    answer.accept(1, None)
    answer.start_media("a", "x/a")
    answer.finish(
        FaultError("the first"), open_parts_error=CancelledError("the rest"), all_or_nothing=True, kept_for=1.0
    )

    events = [event async for event in log.follow()]
    check_events(events)
    assert [event.payload.error.message for event in events if isinstance(event.payload, PartFailed)] == ["the rest"]
    assert answer.record().error.message == "the first"
