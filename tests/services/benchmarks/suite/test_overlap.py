"""The benchmark `overlap`, with fast toys."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.benchmarks.suite import overlap


def test_overlap_is_measured_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TOKEN": 0.001, "DECODE": (0.05, 0.07, 0.09), "LOADED_DECODE": 0.1, "STEPS": 2}.items():
        monkeypatch.setattr(overlap, name, value)

    report = overlap.measure(bundle=None, rounds=1, seconds=0.5, seed=0, plot=tmp_path / "gantt.svg")

    assert 0 < report.figure("critical-path efficiency, one request").value <= 1
    assert report.figure("requests under load that did not succeed").value == 0
    assert "critical path" in (tmp_path / "gantt.svg").read_text()
