"""The order of denoising steps."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from motet.models.diffusion.scheduling import AGEING_STEPS, StepScheduler

STEP_SECONDS = 1.0


@dataclass(eq=False)
class Job:
    """A waiting job."""

    number: int
    remaining: int = 10
    priority: int = 0
    tenant: str = ""
    due: float | None = None
    group: int = 1
    skipped_steps: int = 0


def next_numbers(scheduler: StepScheduler[Job], jobs: list[Job], max_batch: int = 1) -> list[int]:
    """Take a step of one second, and return the numbers of its jobs."""
    batch = scheduler.next(jobs, lambda group, waiting: min(waiting, max_batch), STEP_SECONDS)
    scheduler.charge(batch, 1.0)
    return [job.number for job in batch]


def test_all_jobs_share_a_step_if_the_batch_is_large_enough() -> None:
    assert sorted(next_numbers(StepScheduler(), [Job(1), Job(2), Job(3)], max_batch=3)) == [1, 2, 3]


def test_the_fewest_remaining_steps_are_first_and_then_the_earliest_job() -> None:
    jobs = [Job(1, remaining=9), Job(2, remaining=3), Job(3, remaining=3)]
    assert next_numbers(StepScheduler(), jobs, max_batch=2) == [2, 3]


def test_a_higher_priority_is_first() -> None:
    assert next_numbers(StepScheduler(), [Job(1, remaining=1), Job(2, priority=1)]) == [2]


def test_near_deadlines_are_first_in_their_order() -> None:
    soon = time.monotonic() + 12
    far, near, nearer = Job(1, due=soon + 1000), Job(2, due=soon), Job(3, due=soon - 1)
    assert next_numbers(StepScheduler(), [Job(0, remaining=5), far, near, nearer], max_batch=3) == [3, 2, 0]


def test_tenants_get_an_equal_number_of_steps() -> None:
    scheduler = StepScheduler[Job]()
    jobs = [Job(n, tenant="many") for n in range(6)] + [Job(9, tenant="one", remaining=99)]
    served = Counter(number == 9 for _ in range(20) for number in next_numbers(scheduler, jobs))
    assert served[True] == served[False] == 10


def test_a_batch_is_divided_equally_between_tenants() -> None:
    jobs = [Job(n, tenant="many") for n in range(6)] + [Job(8, tenant="two"), Job(9, tenant="two")]
    assert sorted(next_numbers(StepScheduler(), jobs, max_batch=4)) == [0, 1, 8, 9]


def test_a_late_or_returning_tenant_has_no_advantage() -> None:
    scheduler, old, new = StepScheduler[Job](), Job(1, tenant="old"), Job(2, tenant="new")
    for _ in range(10):
        next_numbers(scheduler, [old])
    first_ten = Counter(number for _ in range(10) for number in next_numbers(scheduler, [old, new]))
    assert first_ten == {1: 5, 2: 5}


def test_groups_get_equal_time() -> None:
    scheduler = StepScheduler[Job]()
    large, small = Job(1, group=1), Job(2, group=2)
    spent = {1: 0.0, 2: 0.0}
    for _ in range(100):
        (served,) = scheduler.next([large, small], lambda group, waiting: waiting, STEP_SECONDS)
        seconds = 9.0 if served is large else 1.0
        scheduler.charge([served], seconds)
        spent[served.number] += seconds
    assert abs(spent[1] - spent[2]) <= 9


def test_a_step_has_jobs_of_one_group_and_no_more_than_the_batch_size() -> None:
    jobs = [Job(1, group=1), Job(2, group=2), Job(3, group=1), Job(4, group=1)]
    served = StepScheduler[Job]().next(jobs, lambda group, waiting: min(waiting, 2), STEP_SECONDS)
    assert [job.number for job in served] == [1, 3]


def test_a_low_priority_does_not_starve() -> None:
    scheduler, low = StepScheduler[Job](), Job(1, remaining=50, priority=-2)
    served = [number for _ in range(8 * AGEING_STEPS) for number in next_numbers(scheduler, [low, Job(2, remaining=1)])]
    assert 1 <= served.count(1) < len(served) // AGEING_STEPS


def test_a_long_job_does_not_starve_while_short_jobs_arrive() -> None:
    scheduler, long = StepScheduler[Job](), Job(1, remaining=50)
    served = [
        number for _ in range(4 * AGEING_STEPS) for number in next_numbers(scheduler, [long, Job(2, remaining=1)])
    ]
    assert 1 <= served.count(1) <= len(served) // AGEING_STEPS
