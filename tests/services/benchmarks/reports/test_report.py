"""Reports: figures, baselines and bars."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console

from services.benchmarks.reports.hardware import hardware
from services.benchmarks.reports.report import Baseline, Figure, at_least
from services.benchmarks.reports.table import print_report
from tests.services.benchmarks.example_report import FASTER, PLAIN, SLOW, report


def test_the_bar_of_a_figure_with_a_baseline_applies_to_the_ratio() -> None:
    assert FASTER.ratio == 3
    assert FASTER.met is True
    assert FASTER.bar_text == ">= 2.5 x"


def test_the_bar_of_a_figure_without_a_baseline_applies_to_the_value() -> None:
    assert SLOW.ratio is None
    assert SLOW.met is False
    assert SLOW.bar_text == "<= 2 ms"


def test_a_figure_without_a_bar_has_no_verdict() -> None:
    assert PLAIN.met is None
    assert report(PLAIN).met
    assert not report(PLAIN, SLOW).met


def test_a_baseline_of_zero_misses_the_bar() -> None:
    assert Figure("speed", 30.0, "1/s", Baseline("by hand", 0.0), at_least(1)).met is False


def test_a_report_is_one_json_document(tmp_path: Path) -> None:
    report(FASTER, SLOW).write(tmp_path / "new" / "tempo.json")

    document = json.loads((tmp_path / "new" / "tempo.json").read_text())

    assert document["hardware"]["processor"] == "abacus"
    assert document["met"] is False
    assert document["figures"][0] == {
        "name": "speed",
        "value": 30.0,
        "unit": "1/s",
        "baseline": {"name": "by hand", "value": 10.0},
        "ratio": 3.0,
        "bar": ">= 2.5 x",
        "limit": 2.5,
        "met": True,
    }


def test_the_terminal_shows_figures_bars_and_the_machine() -> None:
    page = io.StringIO()

    print_report(report(FASTER, SLOW), Console(file=page, width=120))

    for word in ("abacus", "speed", "by hand: 10 1/s", "3 x", "met", "MISSED", "a note"):
        assert word in page.getvalue()


def test_the_machine_is_detected() -> None:
    machine = hardware()

    assert machine["processor"]
    assert machine["cores"] >= 1
    assert machine["packages"]["grpcio"]
