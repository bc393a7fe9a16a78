"""The goodput of loads."""

from __future__ import annotations

from motet.core.events import State
from services.benchmarks.load.client_trace import ClientTrace
from services.benchmarks.load.goodput import LatencyObjective, LoadResult, best_goodput


def trace(
    total: float | None, state: State | None = State.SUCCEEDED, cancelled_after: float | None = None
) -> ClientTrace:
    return ClientTrace(0, first_text=0.1, total=total, state=state, cancelled_after=cancelled_after)


def test_goodput_counts_requests_that_succeed_in_time() -> None:
    load = LoadResult(2, 10, [trace(1), trace(5), trace(1, State.PARTIAL), trace(None, None), trace(None, None, 0.5)])

    assert load.share_met(LatencyObjective(total=2)) == 1 / 4
    assert load.goodput(LatencyObjective(total=2)) == 1 / 10
    assert load.goodput(LatencyObjective()) == 2 / 10
    assert load.goodput(LatencyObjective(first_text=0.05)) == 0


def test_the_best_goodput_needs_a_load_with_enough_requests_in_time() -> None:
    good, overloaded = LoadResult(1, 10, [trace(1)] * 10), LoadResult(5, 10, [trace(1)] * 20 + [trace(9)] * 30)

    assert best_goodput([good, overloaded], LatencyObjective(total=2)) == 1
    assert best_goodput([overloaded], LatencyObjective(total=2)) == 0
