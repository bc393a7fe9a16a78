"""The command `motet bench`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from services.cli.bench.commands import app
from tests.services.command import CLEAN, TIMEOUT


def test_the_command_prints_the_report_and_its_exit_code_says_if_all_bars_are_met(tmp_path: Path) -> None:
    arguments = ["bench", "orchestrator", "--requests", "2", "--rounds", "1", "--plans", "2", "--json"]
    process = subprocess.run(
        [sys.executable, "-P", "-m", "services", *arguments, "--out", str(tmp_path / "report.json")],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env=CLEAN,
        check=False,
    )

    report = json.loads(process.stdout)
    assert report == json.loads((tmp_path / "report.json").read_text())
    assert process.returncode == (0 if report["met"] else 1), process.stderr


def test_every_command_has_a_help_text() -> None:
    assert all(command.callback is not None and command.callback.__doc__ for command in app.registered_commands)
