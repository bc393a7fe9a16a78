"""Measured times of workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet.core.errors import SettingsError
from services.benchmarks.simulation.measured_costs import MeasuredCosts, TickCosts


def test_tick_costs_are_interpolated_and_extrapolated_by_size() -> None:
    costs = TickCosts({1: [1.0, 2.0], 3: [3.0, 6.0]})

    assert costs.seconds(1, 0.0) == 1
    assert costs.seconds(1, 0.99) == 2
    assert costs.seconds(2, 0.0) == 2
    assert costs.seconds(6, 0.99) == 12


def test_costs_are_equal_after_a_round_trip_through_a_dict() -> None:
    costs = MeasuredCosts([0.1], TickCosts({1: [0.2]}), {"a": TickCosts({1: [0.3], 4: [0.5]})}, {"a": [0.1]})

    assert MeasuredCosts.from_dict(costs.as_dict()) == costs


def test_the_error_about_a_file_without_costs_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="motet bench calibrate --out"):
        MeasuredCosts.read(tmp_path / "nothing.json")
