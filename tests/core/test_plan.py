"""Tests of the order of media jobs in a plan."""

import pytest

from motet.core.errors import FaultError
from motet.core.plan import MediaJob, Plan
from motet.core.tensors import Tensor

CONDITIONING = Tensor("uint8", (1,), b"x")


def job(name: str, *needs: str) -> MediaJob:
    return MediaJob(name, "sight", CONDITIONING, inputs=needs)


def test_a_plan_grows_by_one_job_and_the_old_plan_does_not_change() -> None:
    first = Plan((job("a"),))

    assert first.with_job(job("b", "a")).jobs == (job("a"), job("b", "a"))
    assert first.jobs == (job("a"),)


def test_two_jobs_must_not_have_the_same_id() -> None:
    with pytest.raises(FaultError, match="two media jobs have the id 'a'"):
        Plan((job("a"), job("a")))


@pytest.mark.parametrize("jobs", [(job("a", "b"), job("b")), (job("a", "a"),), (job("b", "z"),)])
def test_a_job_needs_only_earlier_jobs(jobs: tuple[MediaJob, ...]) -> None:
    with pytest.raises(FaultError, match="which no earlier job makes"):
        Plan(jobs)
