"""The benchmark `edges`, with fast toys."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.benchmarks.suite import edges


def test_edges_are_measured_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TOKEN": 0.001, "DECODE": 0.05, "STEPS": 2, "SIZES": (1000,)}.items():
        monkeypatch.setattr(edges, name, value)

    report = edges.measure(rounds=1, plot=tmp_path / "gantt.svg")

    assert 0 < report.figure("critical-path efficiency with edges, media of 1,000 bytes").value <= 1
    handover = report.figure("hand-over of three inputs, media of 1,000 bytes")
    assert handover.value > 0
    assert handover.baseline is not None
    assert handover.baseline.value > 0
    assert "critical path" in (tmp_path / "gantt.svg").read_text()
