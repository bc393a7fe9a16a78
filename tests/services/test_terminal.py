"""The command at a terminal: what a person sees, and what Ctrl-C does there."""

from __future__ import annotations

import os
import pty
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from services.exit_codes import Exit
from tests.services.command import CLEAN, COMMAND, PATIENCE, files_in


class Terminal:
    """A command that has a terminal of its own, and the person in front of it."""

    def __init__(self, *arguments: object) -> None:
        self.seen = ""
        self._pid, self._line = pty.fork()
        if self._pid == 0:
            os.execve(COMMAND[0], [*COMMAND, *map(str, arguments)], CLEAN | {"TERM": "xterm", "COLUMNS": "200"})

    def wait_for(self, text: str) -> None:
        """Read until a text has been seen."""
        end = time.monotonic() + PATIENCE
        while text not in self.seen:
            assert self._read(end), f"{text!r} was never shown, but {self.seen!r}"

    def press(self, key: bytes) -> None:
        os.write(self._line, key)

    def end(self) -> int:
        """Read to the end; the exit code."""
        end = time.monotonic() + PATIENCE
        while self._read(end):
            pass
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._line)

    def _read(self, end: float) -> bool:
        """Read a little; False once the command has closed its terminal."""
        ready, _, _ = select.select([self._line], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"nothing came for {PATIENCE} s after {self.seen!r}"
        try:
            read = os.read(self._line, 65536)
        except OSError:
            # So Linux tells that nobody is left at the other end.
            return False
        self.seen += read.decode(errors="replace")
        return bool(read)


@contextmanager
def terminal(*arguments: object) -> Iterator[Terminal]:
    at = Terminal(*arguments)
    try:
        yield at
    finally:
        at.close()


def test_a_person_sees_the_text_a_bar_for_each_file_and_where_it_is(tmp_path: Path) -> None:
    with terminal("run", "hello there", "--toy", "--out", tmp_path / "out") as person:
        code = person.end()

    assert code == Exit.OK
    assert "hello there" in person.seen
    assert "━" in person.seen
    for name in files_in(tmp_path / "out"):
        assert name in person.seen.replace("\r\n", "")


def test_ctrl_c_at_a_terminal_cancels_and_gives_the_cursor_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLEAN, "MOTET_TOY_DELAY", "0.2")

    with terminal("run", "hello", "--toy", "--out", tmp_path / "out") as person:
        person.wait_for("━")
        person.press(b"\x03")
        code = person.end()

    assert code == Exit.INTERRUPTED
    assert person.seen.rfind("\x1b[?25h") > person.seen.rfind("\x1b[?25l"), "the cursor is shown again"
