"""The benchmark `start`: the measurement ends at the first output, and a process without output is an error."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from motet.core.errors import FaultError
from services.benchmarks.suite.start.first_output import FirstOutput


def first_output(program: str, folder: Path) -> FirstOutput:
    return FirstOutput.of([sys.executable, "-c", program], folder)


def test_a_process_is_measured_until_its_first_output_and_then_killed(tmp_path: Path) -> None:
    output = first_output(
        "import time\nwhile time.process_time() < 0.1: pass\nprint('first', flush=True)\ntime.sleep(600)", tmp_path
    )

    assert output.seconds < 600
    assert output.processor_seconds >= 0.1


def test_the_process_has_no_settings_of_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_SERVER", "127.0.0.1:1")

    first_output("import os; assert 'MOTET_SERVER' not in os.environ; print('none')", tmp_path)


def test_a_process_that_ends_without_output_is_an_error_with_its_last_line(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="ended without output: motet: no bundle"):
        first_output("import sys; sys.exit('motet: no bundle')", tmp_path)


def test_a_process_that_has_ended_before_it_is_killed_is_measured(tmp_path: Path) -> None:
    output = first_output(
        "import os, time\nparent = os.getpid()\nif os.fork() == 0:\n"
        "    while os.getppid() == parent: time.sleep(0.001)\n    print('from a child whose parent has ended')",
        tmp_path,
    )

    assert output.processor_seconds > 0
