"""A plan that exists is one that can be carried out."""

import pytest

from motet.core.errors import FaultError
from motet.core.plan import MediaJob, Plan
from motet.core.tensors import Tensor

CONDITIONING = Tensor("uint8", (1,), b"x")


def step(name: str, *needs: str) -> MediaJob:
    return MediaJob(name, "sight", CONDITIONING, needs=needs)


def test_a_plan_grows_by_one_step_and_leaves_the_old_plan_as_it_was() -> None:
    first = Plan((step("a"),))

    assert first.then(step("b", "a")).steps == (step("a"), step("b", "a"))
    assert first.steps == (step("a"),)


def test_two_steps_may_not_have_one_name() -> None:
    with pytest.raises(FaultError, match="two steps are called 'a'"):
        Plan((step("a"), step("a")))


@pytest.mark.parametrize("steps", [(step("a", "b"), step("b")), (step("a", "a"),), (step("b", "z"),)])
def test_a_step_may_only_need_steps_before_it(steps: tuple[MediaJob, ...]) -> None:
    with pytest.raises(FaultError, match="which no earlier step makes"):
        Plan(steps)
