"""Equal warnings and errors are written a few times in a period, and the others are counted."""

from __future__ import annotations

import json
import logging

import pytest

from motet.core.logs.audit import AUDIT
from services.logs.lines import configure_logs
from services.logs.repeated_lines import LIMIT, RepeatedLines


class Clock:
    """A clock that stands still until the test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def line(
    text: str = "a call failed", level: int = logging.ERROR, name: str = "motet", **values: object
) -> logging.LogRecord:
    return logging.makeLogRecord({"name": name, "levelno": level, "msg": text, **values})


def test_lines_beyond_the_limit_are_left_out_and_the_next_period_says_how_many() -> None:
    clock = Clock()
    lines = RepeatedLines(limit=3, period=10, clock=clock)

    assert [lines.admits(line(replica=number)) for number in range(8)] == [True] * 3 + [False] * 5
    clock.seconds = 10.5
    later = line()
    assert lines.admits(later)
    assert later.__dict__["lines_left_out"] == 5
    following = line()
    assert lines.admits(following)
    assert "lines_left_out" not in following.__dict__


def test_the_number_is_known_without_a_further_line() -> None:
    clock = Clock()
    lines = RepeatedLines(limit=1, period=10, clock=clock)
    for replica in range(4):
        lines.admits(line(replica=replica))

    assert list(lines.ended()) == []
    clock.seconds = 10
    (last,) = lines.ended()
    assert (last.__dict__["replica"], last.__dict__["lines_left_out"]) == (3, 3)
    assert list(lines.ended()) == []


def test_different_lines_have_their_own_limits() -> None:
    lines = RepeatedLines(limit=1, clock=Clock())

    assert all(lines.admits(each) for each in (line(), line("other"), line(level=logging.WARNING), line(name="grpc")))
    assert not lines.admits(line())


def test_lines_about_single_requests_and_audit_lines_are_never_left_out() -> None:
    lines = RepeatedLines(limit=1, clock=Clock())

    assert all(lines.admits(line(level=logging.INFO)) for _ in range(5))
    assert all(lines.admits(line(name=AUDIT.name)) for _ in range(5))


def test_a_million_different_lines_need_little_memory() -> None:
    lines = RepeatedLines(clock=Clock())

    for number in range(20_000):
        lines.admits(line(f"error {number}"))
    assert len(list(lines.ended(early=True))) == 0
    assert len(lines._repeats) == 0
    assert not any(lines.admits(line("again")) is False for _ in range(LIMIT))


def test_the_end_of_a_process_writes_how_many_lines_were_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    writer = configure_logs("warning")

    for number in range(LIMIT + 7):
        logging.getLogger("motet").error("a call failed", extra={"number": number})

    writer.flush_waiting()
    written = [json.loads(each) for each in capsys.readouterr().err.splitlines()]
    # The thread of the lines may write the last one before the others.
    assert [each.get("lines_left_out") for each in written if "lines_left_out" in each] == [7]
    assert len(written) == LIMIT + 1
