"""Log lines of a process."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from services.logs import configure_logs


@pytest.fixture(autouse=True)
def _restore_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def test_lines_of_every_library_are_json_outside_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("info")

    logging.getLogger("grpc").warning("lost %d", 3, extra={"peer": "a"})
    structlog.stdlib.get_logger("services").info("began", calls=2)
    logging.getLogger("grpc").debug("too much")

    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert (first["event"], first["level"], first["logger"], first["peer"]) == ("lost 3", "warning", "grpc", "a")
    assert (second["event"], second["level"], second["calls"]) == ("began", "info", 2)
    assert "timestamp" in first


@pytest.mark.parametrize("terminal", [False, True])
def test_a_traceback_contains_no_prompt(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    configure_logs()
    prompt = " ".join(["a", "penguin"])

    try:
        raise ValueError(len(prompt))
    except ValueError:
        logging.getLogger("motet").exception("unexpected error")

    output = capsys.readouterr().err
    assert "ValueError" in output
    assert "penguin" not in output
    if not terminal:
        (line,) = map(json.loads, output.splitlines())
        assert line["exception"][0]["exc_type"] == "ValueError"


def test_no_value_or_traceback_controls_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    configure_logs()

    try:
        raise ValueError("\x1b]0;raised\x07")
    except ValueError:
        logging.getLogger("motet").exception("\x1b]0;logged\x07", extra={"peer": "\x1b]0;peer\x07"})

    output = capsys.readouterr().err
    assert all(f"\\x1b]0;{word}\\x07" in output for word in ("raised", "logged", "peer"))
    assert "\x07" not in output
