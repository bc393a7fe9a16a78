import pytest

from motet.models.fair_queue import FairQueue


def served(line: FairQueue[str]) -> list[str]:
    order = []
    while (item := line.first()) is not None:
        line.leave(item)
        order.append(item)
    return order


def test_one_tenants_items_are_served_as_they_came() -> None:
    line: FairQueue[str] = FairQueue()
    for item in "abc":
        line.join(item, "", 0, 10)

    assert served(line) == ["a", "b", "c"]


def test_a_higher_priority_goes_first() -> None:
    line: FairQueue[str] = FairQueue()
    for item, priority in (("low", -1), ("usual", 0), ("high", 5), ("usual too", 0)):
        line.join(item, "", priority, 10)

    assert served(line) == ["high", "usual", "usual too", "low"]


def test_a_tenant_with_little_does_not_wait_for_one_with_much() -> None:
    line: FairQueue[str] = FairQueue()
    for number in range(5):
        line.join(f"much {number}", "greedy", 0, 10)
    line.join("little", "modest", 0, 10)

    assert served(line)[:2] == ["much 0", "little"]


def test_turns_are_by_cost_and_not_by_number() -> None:
    line: FairQueue[str] = FairQueue()
    for number in range(2):
        line.join(f"large {number}", "a", 0, 30)
    for number in range(4):
        line.join(f"small {number}", "b", 0, 10)

    assert served(line) == ["large 0", "small 0", "small 1", "small 2", "large 1", "small 3"]


def test_whoever_comes_late_is_owed_nothing_for_the_time_before() -> None:
    line: FairQueue[str] = FairQueue()
    for number in range(4):
        line.join(f"early {number}", "a", 0, 10)
    for number in range(3):
        line.leave(f"early {number}")
    for number in range(3):
        line.join(f"late {number}", "b", 0, 10)

    assert served(line) == ["late 0", "early 3", "late 1", "late 2"]


def test_whoever_gives_up_leaves_from_anywhere() -> None:
    line: FairQueue[str] = FairQueue()
    for item in "abc":
        line.join(item, "", 0, 10)
    line.leave("b")

    assert len(line) == 2
    assert list(line) == served(line) == ["a", "c"]
    with pytest.raises(ValueError, match="not in it"):
        line.leave("b")
