"""Tests of amounts that holders share."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from motet.core.errors import OverloadedError, Reason
from motet.scheduling.shares import Shares


def take_all(shares: Shares, holder: str) -> int:
    """Take units until one is refused, and return their number."""
    taken = 0
    while True:
        try:
            shares.take(holder)
        except OverloadedError:
            return taken
        taken += 1


def test_a_holder_alone_gets_half() -> None:
    assert take_all(Shares(1000, "calls", "wait"), "greedy") == 500


def test_after_nine_greedy_holders_another_one_still_gets_a_unit() -> None:
    shares = Shares(1000, "calls", "wait")
    for number in range(9):
        assert take_all(shares, f"greedy {number}") > 0

    assert take_all(shares, "modest") > 0


def test_a_refusal_says_what_to_do_and_when_to_try_again() -> None:
    shares = Shares(1, "calls", "wait")
    shares.take("one")

    with pytest.raises(OverloadedError, match="1 calls are more than this caller may have .*; wait") as caught:
        shares.take("other")
    assert (caught.value.reason, caught.value.retry_after) == (Reason.QUEUE_FULL, 1.0)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 30)), max_size=40))
def test_the_limit_holds_and_what_is_released_is_free_again(amounts: list[tuple[str, int]]) -> None:
    shares = Shares(50, "bytes", "wait")
    taken = []
    for holder, amount in amounts:
        try:
            shares.take(holder, amount)
        except OverloadedError:
            continue
        taken.append((holder, amount))
        assert shares.total == sum(amount for _, amount in taken) <= 50

    for holder, amount in taken:
        shares.release(holder, amount)
    assert (shares.total, shares._held) == (0, {})
    shares.take("anyone", 50)
