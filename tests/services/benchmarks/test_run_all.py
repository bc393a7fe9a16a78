"""The tables of reports in the documentation, and the list of benchmarks."""

from __future__ import annotations

from pathlib import Path

import pytest

from motet.core.errors import SettingsError
from services.benchmarks.run_all import BEGIN, END, commands, put_table, table_of
from tests.services.benchmarks.example_report import FASTER, PLAIN, SLOW, report


def test_the_document_shows_the_reports(tmp_path: Path) -> None:
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


def test_a_document_without_markers_is_not_changed(tmp_path: Path) -> None:
    report(PLAIN).write(tmp_path / "tempo.json")
    document = tmp_path / "page.md"
    document.write_text("mine")

    with pytest.raises(SettingsError, match="has no lines"):
        put_table(tmp_path, document)

    assert document.read_text() == "mine"


def test_the_documentation_shows_the_recorded_reports() -> None:
    root = Path(__file__).resolve().parents[3]
    shown = (root / "docs" / "benchmarks.md").read_text().partition(BEGIN)[2].partition(END)[0]

    assert shown.strip() == table_of(root / "docs" / "benchmarks").strip()


def test_run_all_includes_every_benchmark_command(tmp_path: Path) -> None:
    from typer.main import get_command

    from services.cli.bench.commands import app

    known = get_command(app).commands  # type: ignore[attr-defined]

    assert {arguments[0] for arguments in commands(tmp_path).values()} == known.keys() - {
        "all",
        "table",
        "hardware",
        "gpu",
        "ray",
    }
