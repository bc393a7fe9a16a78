"""Log lines of a process."""

from __future__ import annotations

import json
import logging
import threading

import pytest
from prometheus_client import REGISTRY

from motet.core.logs.request_id import request_id_set
from services.logs.lines import LineWriter, configure_logs


def test_lines_of_every_library_are_json_outside_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lines = configure_logs("info", "decoder image")

    logging.getLogger("grpc").warning("lost %d", 3, extra={"peer": "a"})
    logging.getLogger("services").info("began", extra={"calls": 2})
    logging.getLogger("grpc").debug("too much")

    lines.flush_waiting()
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert first["service"] == second["service"] == "decoder image"
    assert "request_id" not in first
    assert (first["event"], first["level"], first["logger"], first["peer"]) == ("lost 3", "warning", "grpc", "a")
    assert (second["event"], second["level"], second["calls"]) == ("began", "info", 2)
    assert "timestamp" in first


@pytest.mark.parametrize("terminal", [False, True])
def test_a_traceback_contains_no_prompt(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: terminal)
    lines = configure_logs()
    prompt = " ".join(["a", "penguin"])

    try:
        raise ValueError(len(prompt))
    except ValueError:
        logging.getLogger("motet").exception("unexpected error")

    lines.flush_waiting()
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
    lines = configure_logs()

    try:
        raise ValueError("\x1b]0;raised\x07")
    except ValueError:
        logging.getLogger("motet").exception("\x1b]0;logged\x07", extra={"peer": "\x1b]0;peer\x07"})

    lines.flush_waiting()
    output = capsys.readouterr().err
    assert all(f"\\x1b]0;{word}\\x07" in output for word in ("raised", "logged", "peer"))
    assert "\x07" not in output


def test_each_line_has_the_id_of_its_request(capsys: pytest.CaptureFixture[str]) -> None:
    lines = configure_logs()

    for request_id in ("a", "b"):
        with request_id_set(request_id):
            logging.getLogger("motet").info("began")

    lines.flush_waiting()
    assert [json.loads(line)["request_id"] for line in capsys.readouterr().err.splitlines()] == ["a", "b"]


def test_a_reader_that_stops_holds_up_no_caller_and_dropped_lines_are_counted() -> None:
    stopped = threading.Event()

    class Blocked(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            stopped.wait()

    def dropped() -> float:
        return REGISTRY.get_sample_value("motet_log_lines_dropped_total") or 0.0

    writer, before = LineWriter(Blocked(), "", max_waiting=3), dropped()
    try:
        for _ in range(10):
            writer.handle(logging.makeLogRecord({"name": "motet", "msg": "began", "levelno": logging.INFO}))
        # One line is being written, unless the thread has not started yet, and three wait.
        assert dropped() - before in (6, 7)
    finally:
        stopped.set()
        writer.flush_waiting()


def test_a_line_of_hostile_values_stays_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = configure_logs()

    logging.getLogger("motet").warning("began\nforged", extra={"peer": "a\r\nb\u2028c\x00\ud800"})

    lines.flush_waiting()
    (line,) = capsys.readouterr().err.split("\n")[:-1]
    assert json.loads(line)["peer"].startswith("a\r\nb")
    assert line.isascii()
