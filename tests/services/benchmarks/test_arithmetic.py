"""The arithmetic of measuring."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path

import pytest

from motet.core.errors import SettingsError
from motet.core.events import State
from orchestrator.generation.pipeline import seed_of
from services.benchmarks.load.client_trace import Heard, Piece
from services.benchmarks.load.goodput import Objective, Outcome, best_goodput
from services.benchmarks.load.open_loop import Due, impatient, poisson, trace
from services.benchmarks.load.scripted_toys import prompt_of, script_of
from services.benchmarks.reports.statistics import alternating, percentile, percentiles
from services.benchmarks.simulation.measured_costs import Costs, Curve
from services.benchmarks.tracing.critical_path import Arrival, Making, Stages, ideal, system_bound
from services.benchmarks.tracing.request_stages import by_request, stages_of
from services.benchmarks.tracing.spans import LANGUAGE_MODEL, Span
from services.benchmarks.tracing.waste import waste_of

WIDTH = {LANGUAGE_MODEL: 8, "a": 1, "b": 1}


def test_a_percentile_is_a_sample_that_was_measured() -> None:
    assert percentile([3, 1, 2], 50) == 2
    assert percentile([3, 1, 2], 99) == 3
    assert percentile(range(1, 101), 99) == 99
    assert percentile([1], 0) == 1
    assert percentiles([], 50) == {}
    with pytest.raises(ValueError, match="nothing was measured"):
        percentile([], 50)


def test_candidates_take_turns_and_none_is_always_first() -> None:
    turns: list[str] = []

    found = alternating(2, {"x": lambda: turns.append("x") or 1.0, "y": lambda: turns.append("y") or 2.0})  # type: ignore[func-returns-value]

    assert turns == ["x", "y", "y", "x"]
    assert found == {"x": [1.0, 1.0], "y": [2.0, 2.0]}


def test_the_bound_is_the_longest_chain() -> None:
    stages = Stages(1, 10, (Making("a", 2, 3), Making("b", 9, 4)))

    assert stages.bound == 1 + 9 + 4
    assert stages.critical == Making("b", 9, 4)
    assert stages.barrier == 1 + 10 + 4
    assert stages.sequential == 1 + 10 + 3 + 4


def test_writing_may_be_the_longest_chain_itself() -> None:
    stages = Stages(0, 10, (Making("a", 2, 3),))

    assert stages.bound == 10
    assert stages.critical is None
    assert Stages(0, 10).barrier == 10


def test_the_ideal_serves_in_the_order_of_asking() -> None:
    # Both want the one worker of "a" after a second of writing, and it takes four seconds each time.
    load = [Arrival(at, Stages(0, 2, (Making("a", 1, 4),))) for at in (0, 1)]

    assert ideal(load, WIDTH) == [5, 9]
    assert ideal(load, WIDTH | {"a": 2}) == [5, 6]


def test_the_ideal_of_a_request_alone_is_its_bound() -> None:
    stages = Stages(1, 10, (Making("a", 2, 3), Making("b", 9, 4)))

    assert ideal([Arrival(100, stages)], WIDTH) == [100 + stages.bound]


def test_no_schedule_beats_the_system_bound() -> None:
    rng = random.Random(1)
    for _ in range(50):
        load = [
            Arrival(
                rng.uniform(0, 20),
                Stages(0, 3, tuple(Making(rng.choice("ab"), rng.uniform(0, 3), rng.uniform(0, 5)) for _ in range(2))),
            )
            for _ in range(12)
        ]

        assert system_bound(load, WIDTH) <= max(ideal(load, WIDTH)) + 1e-9


def test_the_system_bound_is_the_work_of_the_busiest_pool() -> None:
    load = [Arrival(0, Stages(0, 1, (Making("a", 1, 10),))) for _ in range(3)]

    assert system_bound(load, WIDTH) == 1 + 30
    assert system_bound(load, WIDTH | {"a": 3}) == 1 + 10


def span(worker: str, seed: int, begun: float, ended: float, **more: object) -> Span:
    return Span(worker, seed, begun, ended, ended - begun, **more)  # type: ignore[arg-type]


def test_spans_are_sorted_by_the_request_they_belong_to() -> None:
    writing = {seed: span(LANGUAGE_MODEL, seed, 0, 2, marks=(("a", 1.0),)) for seed in (5, 6)}
    # Text is part 0, so the media are part 1.
    making = {seed: span("a", seed_of(seed, "part-1"), 1, 4) for seed in (5, 6)}
    stranger = span("a", 77, 1, 4)

    found = by_request([*making.values(), stranger, *writing.values()], [5, 6])

    assert found == {seed: [writing[seed], making[seed]] for seed in (5, 6)}
    assert stages_of(found[5]) == Stages(0, 2, (Making("a", 1.0, 3),))


def test_a_request_whose_worker_was_stopped_has_no_stages() -> None:
    writing = span(LANGUAGE_MODEL, 5, 0, 2, marks=(("a", 1.0),))

    with pytest.raises(ValueError, match="decoder of a did not finish"):
        stages_of([writing, span("a", 1, 1, 2, whole=False)])
    with pytest.raises(ValueError, match="language model"):
        stages_of([])


def test_work_after_the_caller_left_is_wasted() -> None:
    spans = {1: [span("a", 1, 0, 10)], 2: [span("a", 2, 0, 6), span("b", 2, 5, 6)], 3: [span("a", 3, 0, 1)]}

    waste = waste_of(spans, {2: 4, 3: 2})

    assert waste.worked == 10 + 6 + 1 + 1
    assert waste.wasted == 2 + 1
    assert waste.idle_after == (2, 2)
    assert waste.share == pytest.approx(3 / 18)


def heard(total: float | None, state: State | None = State.SUCCEEDED, hung_up: float | None = None) -> Heard:
    return Heard(0, first_text=0.1, total=total, state=state, hung_up=hung_up)


def test_goodput_counts_what_came_whole_and_in_time() -> None:
    outcome = Outcome(2, 10, [heard(1), heard(5), heard(1, State.PARTIAL), heard(None, None), heard(None, None, 0.5)])

    assert outcome.kept(Objective(total=2)) == 1 / 4
    assert outcome.goodput(Objective(total=2)) == 1 / 10
    assert outcome.goodput(Objective()) == 2 / 10
    assert outcome.goodput(Objective(first_text=0.05)) == 0


def test_the_best_goodput_is_at_a_rate_where_enough_were_in_time() -> None:
    good, crowded = Outcome(1, 10, [heard(1)] * 10), Outcome(5, 10, [heard(1)] * 20 + [heard(9)] * 30)

    assert best_goodput([good, crowded], Objective(total=2)) == 1
    assert best_goodput([crowded], Objective(total=2)) == 0


def test_media_are_first_when_they_are_there() -> None:
    pieces = {"0": Piece("text", 0, 0.5), "1": Piece("a", 1, 4), "2": Piece("b", 2, 3), "3": Piece("c", 2)}

    assert Heard(0, pieces=pieces).first_media == 3
    assert Heard(0).first_media is None


def test_random_arrivals_come_at_the_rate_and_the_same_seed_gives_the_same() -> None:
    due = poisson(50, 100, ["x", "y"], random.Random(3))

    assert len(due) == pytest.approx(5000, rel=0.05)
    assert [one.text for one in due[:4]] == ["x", "y", "x", "y"]
    assert due == poisson(50, 100, ["x", "y"], random.Random(3))
    assert all(before.at <= after.at < 100 for before, after in pairwise(due))


def test_a_share_of_the_callers_loses_patience() -> None:
    due = impatient([Due(0, "x", 1)] * 1000, 0.25, 8, random.Random(0))
    patience = [one.patience for one in due if one.patience is not None]

    assert len(patience) == pytest.approx(250, rel=0.2)
    assert 0 <= min(patience) < max(patience) <= 8


def test_a_trace_is_read_in_the_order_of_its_times(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text('seconds,prompt\n2.5,"later, with a comma"\n0,first\n')

    assert [(one.at, one.text) for one in trace(path, random.Random(0))] == [(0, "first"), (2.5, "later, with a comma")]


@pytest.mark.parametrize(
    ("text", "says"),
    [("0,x\nsoon,y\n", "line 2"), ("", "no request"), ("0,x\n1\n", "line 2"), ("1\n", "line 1")],
)
def test_a_broken_trace_is_refused_by_its_line(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)

    with pytest.raises(SettingsError, match=says):
        trace(path, random.Random(0))


def test_prompts_say_what_toys_write() -> None:
    assert prompt_of(["a", "b"], 3, 2, 1) == "3 a 2 b 1"
    assert script_of("please 3 a 2 c", ["a", "b"]) == [3, "a", 2]


def test_a_curve_is_read_between_and_beyond_its_sizes() -> None:
    curve = Curve({1: [1.0, 2.0], 3: [3.0, 6.0]})

    assert curve.seconds(1, 0.0) == 1
    assert curve.seconds(1, 0.99) == 2
    assert curve.seconds(2, 0.0) == 2
    assert curve.seconds(6, 0.99) == 12


def test_costs_survive_being_written_down() -> None:
    costs = Costs([0.1], Curve({1: [0.2]}), {"a": Curve({1: [0.3], 4: [0.5]})}, {"a": [0.1]})

    assert Costs.of_dict(costs.as_dict()) == costs


def test_a_file_without_costs_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="motet bench calibrate --out"):
        Costs.read(tmp_path / "nothing.json")
