"""Whose turn it is."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from motet.models.diffusion.scheduling import PATIENCE, StepScheduler

PACE = 1.0


@dataclass(eq=False)
class Job:
    """A job that waits; `number` orders those that nothing else does."""

    number: int
    remaining: int = 10
    priority: int = 0
    tenant: str = ""
    due: float | None = None
    group: int = 1
    passed: int = 0


def numbers(turns: StepScheduler[Job], jobs: list[Job], most: int = 1) -> list[int]:
    """Who goes next; each takes a second."""
    served = turns.next(jobs, lambda group, waiting: min(waiting, most), PACE)
    turns.charge(served, 1.0)
    return [job.number for job in served]


def test_all_go_together_where_all_fit() -> None:
    assert sorted(numbers(StepScheduler(), [Job(1), Job(2), Job(3)], most=3)) == [1, 2, 3]


def test_who_is_soonest_done_goes_first_and_then_who_came_first() -> None:
    assert numbers(StepScheduler(), [Job(1, remaining=9), Job(2, remaining=3), Job(3, remaining=3)], most=2) == [2, 3]


def test_a_higher_priority_goes_first() -> None:
    assert numbers(StepScheduler(), [Job(1, remaining=1), Job(2, priority=1)]) == [2]


def test_a_deadline_counts_when_it_is_near_and_the_earliest_most() -> None:
    soon = time.monotonic() + 12
    far, near, nearer = Job(1, due=soon + 1000), Job(2, due=soon), Job(3, due=soon - 1)
    assert numbers(StepScheduler(), [Job(0, remaining=5), far, near, nearer], most=3) == [3, 2, 0]


def test_tenants_get_equally_many_steps_whatever_they_ask_for() -> None:
    turns, jobs = StepScheduler[Job](), [Job(n, tenant="many") for n in range(6)] + [Job(9, tenant="one", remaining=99)]
    served = Counter(number == 9 for _ in range(20) for number in numbers(turns, jobs))
    assert served[True] == served[False] == 10


def test_a_batch_is_shared_by_tenants_too() -> None:
    jobs = [Job(n, tenant="many") for n in range(6)] + [Job(8, tenant="two"), Job(9, tenant="two")]
    assert sorted(numbers(StepScheduler(), jobs, most=4)) == [0, 1, 8, 9]


def test_who_comes_late_or_comes_back_is_owed_nothing() -> None:
    turns, old, new = StepScheduler[Job](), Job(1, tenant="old"), Job(2, tenant="new")
    for _ in range(10):
        numbers(turns, [old])
    first_ten = Counter(number for _ in range(10) for number in numbers(turns, [old, new]))
    assert first_ten == {1: 5, 2: 5}


def test_groups_that_cannot_share_a_step_get_equal_time() -> None:
    turns = StepScheduler[Job]()
    large, small = Job(1, group=1), Job(2, group=2)
    spent = {1: 0.0, 2: 0.0}
    for _ in range(100):
        (served,) = turns.next([large, small], lambda group, waiting: waiting, PACE)
        seconds = 9.0 if served is large else 1.0
        turns.charge([served], seconds)
        spent[served.number] += seconds
    assert abs(spent[1] - spent[2]) <= 9


def test_a_step_is_of_one_group_and_never_larger_than_allowed() -> None:
    jobs = [Job(1, group=1), Job(2, group=2), Job(3, group=1), Job(4, group=1)]
    served = StepScheduler[Job]().next(jobs, lambda group, waiting: min(waiting, 2), PACE)
    assert [job.number for job in served] == [1, 3]


def test_a_low_priority_does_not_wait_for_ever() -> None:
    turns, low = StepScheduler[Job](), Job(1, remaining=50, priority=-2)
    served = [number for _ in range(8 * PATIENCE) for number in numbers(turns, [low, Job(2, remaining=1)])]
    assert 1 <= served.count(1) < len(served) // PATIENCE


def test_a_long_job_does_not_wait_for_ever_while_short_ones_come() -> None:
    turns, long = StepScheduler[Job](), Job(1, remaining=50)
    served = [number for _ in range(4 * PATIENCE) for number in numbers(turns, [long, Job(2, remaining=1)])]
    assert 1 <= served.count(1) <= len(served) // PATIENCE
