"""The timeline of a generation, from its record and its plan."""

from __future__ import annotations

import pytest

from motet.answers.timeline import timeline_of
from motet.core.errors import FaultError
from motet.core.events import CallSource, Generation, PartFailed, PlanInput, PlanNode, State, Usage, WorkerCall

ENCODER = WorkerCall("encoder", 0.1, 1.0)
LANGUAGE_MODEL = WorkerCall("llm", 1.0, 6.0, queue_wait=0.5)
PICTURE = WorkerCall("decoder", 2.0, 5.0, "part-1", requested=2.0, queue_wait=1.0)
FILM = WorkerCall("decoder", 5.2, 9.0, "part-2", requested=3.0, queue_wait=0.0)
PLAN = (PlanNode("part-1", "image"), PlanNode("part-2", "video", (PlanInput("image", "part-1"),)))


def record_of(*calls: WorkerCall, state: State = State.SUCCEEDED, elapsed: float = 10.0) -> Generation:
    return Generation("generations/x", state, usage=Usage(elapsed=elapsed), calls=calls)


def test_the_critical_path_goes_back_through_inputs_signals_and_the_encoder() -> None:
    timeline = timeline_of(record_of(ENCODER, LANGUAGE_MODEL, PICTURE, FILM), PLAN)

    needed = {node.name: node.needed for node in timeline.nodes}
    assert needed == {"encoder": 1.0, "llm": 2.0, "image (part-1)": 5.0, "video (part-2)": 9.0}
    assert timeline.critical_seconds == pytest.approx(0.9 + 1.0 + 3.0 + 3.8)
    assert timeline.overhead == pytest.approx(0.1 + 0.2 + 1.0)
    assert timeline.explained == pytest.approx(0.87)
    assert timeline.queue_seconds == pytest.approx(1.5)


def test_a_part_that_ends_before_the_language_model_is_not_on_the_critical_path() -> None:
    timeline = timeline_of(record_of(LANGUAGE_MODEL, PICTURE, elapsed=6.0), PLAN)

    assert [node.critical for node in timeline.nodes] == [True, False]


def test_a_part_that_waited_for_its_signal_last_has_no_input_on_the_critical_path() -> None:
    late = WorkerCall("decoder", 5.5, 9.0, "part-2", requested=5.5)

    timeline = timeline_of(record_of(LANGUAGE_MODEL, PICTURE, late), PLAN)

    assert [node.name for node in timeline.nodes if node.critical] == ["llm", "video (part-2)"]


def test_waits_for_inputs_and_in_the_queue_are_apart_from_work() -> None:
    _, _, picture, film = timeline_of(record_of(ENCODER, LANGUAGE_MODEL, PICTURE, FILM), PLAN).nodes

    assert (picture.input_wait, picture.queue_wait, picture.work) == (0.0, 1.0, 2.0)
    assert (film.input_wait, film.queue_wait, film.work) == pytest.approx((2.2, 0.0, 3.8))
    assert film.inputs == ("image (part-1)",)


def test_a_call_without_end_lasts_until_now() -> None:
    calls = (LANGUAGE_MODEL, WorkerCall("decoder", 7.0, None, "part-1", requested=6.0))

    running = timeline_of(record_of(*calls, state=State.RUNNING), PLAN)
    stopped = timeline_of(record_of(*calls, state=State.CANCELLED), PLAN)

    assert (running.nodes[1].end, running.nodes[1].outcome) == (10.0, "running")
    assert stopped.nodes[1].outcome == "stopped"


def test_a_failed_part_has_the_reason() -> None:
    record = Generation(
        "generations/x", State.PARTIAL, failures=(PartFailed("part-1", FaultError("no")),), calls=(PICTURE,)
    )

    assert timeline_of(record, PLAN).nodes[0].outcome == FaultError("no").reason.value


def test_a_record_of_a_server_without_calls_has_no_nodes() -> None:
    timeline = timeline_of(record_of(), ())

    assert (timeline.nodes, timeline.critical_seconds, timeline.explained) == ((), 0.0, 0.0)


def test_nonsense_of_a_server_has_no_negative_durations_and_ends() -> None:
    circle = (PlanNode("a", "x", (PlanInput("x", "b"),)), PlanNode("b", "x", (PlanInput("x", "a"),)))
    calls = (
        WorkerCall("decoder", 5.0, 1.0, "a", requested=9.0, queue_wait=50.0, source=CallSource.CACHE),
        WorkerCall("decoder", 5.0, 7.0, "b", queue_wait=-1.0),
    )

    timeline = timeline_of(record_of(*calls, elapsed=0.0), circle)

    assert all(min(node.input_wait, node.queue_wait, node.work) >= 0 for node in timeline.nodes)
    assert timeline.overhead == 0.0
