"""Plots of measurements."""

from __future__ import annotations

from pathlib import Path

from services.benchmarks.reports import plots


def test_a_line_chart_leaves_missing_values_out(tmp_path: Path) -> None:
    plots.line_chart(tmp_path / "a.svg", [1, 2, 3], {"total": [1.0, None, 3.0]}, "rate", "seconds")

    assert (tmp_path / "a.svg").exists()
