"""Tests of the moving average."""

from __future__ import annotations

import pytest

from motet.scheduling.moving_average import WEIGHT, MovingAverage


def test_the_first_value_is_the_average() -> None:
    average = MovingAverage()
    assert average.value is None

    average.add(3.0)
    assert average.value == 3.0


def test_a_newer_value_moves_the_average_by_its_weight() -> None:
    average = MovingAverage(1.0)
    average.add(2.0)
    assert average.value == pytest.approx(1.0 + WEIGHT)

    for _ in range(100):
        average.add(5.0)
    assert average.value == pytest.approx(5.0)
