"""Reports: what is claimed against what, and whether it is reached."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from motet.core.errors import SettingsError
from services.benchmarks.reports.hardware import hardware
from services.benchmarks.reports.report import Baseline, Figure, Report, at_least, at_most
from services.benchmarks.reports.table import print_report
from services.benchmarks.run_all import BEGIN, END, commands, put_table, table_of

MACHINE = {"processor": "abacus", "cores": 2, "memory_gib": 1.0, "gpus": [], "packages": {}}
FASTER = Figure("speed", 30.0, "1/s", Baseline("by hand", 10.0), at_least(2.5))
SLOW = Figure("delay", 3.0, "ms", bar=at_most(2))
PLAIN = Figure("colour", 7.0, "")


def report(*figures: Figure) -> Report:
    return Report("tempo", {"rounds": 1}, figures, ["a note"], hardware=MACHINE, time="2026-01-02T03:04:05+00:00")


def test_a_figure_with_a_baseline_is_judged_by_its_ratio() -> None:
    assert FASTER.ratio == 3
    assert FASTER.met is True
    assert FASTER.bar_text == ">= 2.5 x"


def test_a_figure_without_a_baseline_is_judged_by_its_value() -> None:
    assert SLOW.ratio is None
    assert SLOW.met is False
    assert SLOW.bar_text == "<= 2 ms"


def test_a_figure_without_a_bar_is_not_judged() -> None:
    assert PLAIN.met is None
    assert report(PLAIN).met
    assert not report(PLAIN, SLOW).met


def test_nothing_is_faster_than_a_baseline_that_was_not_measured() -> None:
    assert Figure("speed", 30.0, "1/s", Baseline("by hand", 0.0), at_least(1)).met is False


def test_a_report_is_one_json_document(tmp_path: Path) -> None:
    report(FASTER, SLOW).write(tmp_path / "new" / "tempo.json")

    told = json.loads((tmp_path / "new" / "tempo.json").read_text())

    assert told["hardware"]["processor"] == "abacus"
    assert told["met"] is False
    assert told["figures"][0] == {
        "name": "speed",
        "value": 30.0,
        "unit": "1/s",
        "baseline": {"name": "by hand", "value": 10.0},
        "ratio": 3.0,
        "bar": ">= 2.5 x",
        "limit": 2.5,
        "met": True,
    }


def test_people_see_figures_bars_and_the_machine() -> None:
    page = io.StringIO()

    print_report(report(FASTER, SLOW), Console(file=page, width=120))

    for word in ("abacus", "speed", "by hand: 10 1/s", "3 x", "met", "MISSED", "a note"):
        assert word in page.getvalue()


def test_the_machine_is_found() -> None:
    found = hardware()

    assert found["processor"]
    assert found["cores"] >= 1
    assert found["packages"]["grpcio"]


def test_the_document_shows_what_the_reports_say(tmp_path: Path) -> None:
    report(FASTER, SLOW).write(tmp_path / "tempo.json")
    document = tmp_path / "page.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")

    put_table(tmp_path, document)

    text = document.read_text()
    assert text.startswith(f"before\n{BEGIN}\n\n### tempo\n\n2026-01-02, abacus, 2 cores, 1 GiB, no GPU.\n")
    assert "| speed | 30 1/s | by hand: 10 1/s | 3 x | >= 2.5 x | met |" in text
    assert "| delay | 3 ms |  |  | <= 2 ms | **missed** |" in text
    assert "old" not in text
    assert text.endswith(f"{END}\nafter\n")


def test_a_document_without_marks_is_left_alone(tmp_path: Path) -> None:
    report(PLAIN).write(tmp_path / "tempo.json")
    document = tmp_path / "page.md"
    document.write_text("mine")

    with pytest.raises(SettingsError, match="has no lines"):
        put_table(tmp_path, document)

    assert document.read_text() == "mine"


def test_the_documentation_shows_the_reports_of_this_checkout() -> None:
    root = Path(__file__).resolve().parents[4]
    shown = (root / "docs" / "benchmarks.md").read_text().partition(BEGIN)[2].partition(END)[0]

    assert shown.strip() == table_of(root / "docs" / "benchmarks").strip()


def test_the_suite_runs_every_benchmark_that_can_be_typed(tmp_path: Path) -> None:
    from typer.main import get_command

    from services.cli.bench_commands import app

    known = get_command(app).commands  # type: ignore[attr-defined]

    assert {arguments[0] for arguments in commands(tmp_path).values()} == known.keys() - {
        "all",
        "table",
        "hardware",
        "gpu",
    }
