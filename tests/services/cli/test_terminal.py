"""`motet run` on a terminal: progress bars, file names and Ctrl-C."""

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
from tests.services.command import CLEAN, COMMAND, TIMEOUT, files_in


class Terminal:
    """A command on its own pseudo-terminal."""

    def __init__(self, *arguments: object) -> None:
        self.output = ""
        self._pid, self._descriptor = pty.fork()
        if self._pid == 0:
            os.execve(COMMAND[0], [*COMMAND, *map(str, arguments)], CLEAN | {"TERM": "xterm", "COLUMNS": "200"})

    def wait_for(self, text: str) -> None:
        """Read until the output contains a text."""
        end = time.monotonic() + TIMEOUT
        while text not in self.output:
            assert self._read(end), f"{text!r} did not appear in {self.output!r}"

    def press(self, key: bytes) -> None:
        os.write(self._descriptor, key)

    def end(self) -> int:
        """Read to the end, and return the exit code."""
        end = time.monotonic() + TIMEOUT
        while self._read(end):
            pass
        _, status = os.waitpid(self._pid, 0)
        self._pid = 0
        return os.waitstatus_to_exitcode(status)

    def close(self) -> None:
        if self._pid:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
        os.close(self._descriptor)

    def _read(self, end: float) -> bool:
        """Read once, and return False if the command has closed its terminal."""
        ready, _, _ = select.select([self._descriptor], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"no output for {TIMEOUT} s after {self.output!r}"
        try:
            read = os.read(self._descriptor, 65536)
        except OSError:
            # Linux raises this if the other end is closed.
            return False
        self.output += read.decode(errors="replace")
        return bool(read)


@contextmanager
def run_on_terminal(*arguments: object) -> Iterator[Terminal]:
    terminal = Terminal(*arguments)
    try:
        yield terminal
    finally:
        terminal.close()


def test_a_terminal_shows_the_text_and_a_bar_and_a_name_for_each_file(tmp_path: Path) -> None:
    with run_on_terminal("run", "hello there", "--toy", "--out", tmp_path / "out") as terminal:
        code = terminal.end()

    assert code == Exit.OK
    assert "hello there" in terminal.output
    assert "━" in terminal.output
    for name in files_in(tmp_path / "out"):
        assert name in terminal.output.replace("\r\n", "")


def test_ctrl_c_on_a_terminal_cancels_and_shows_the_cursor_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(CLEAN, "MOTET_TOY_DELAY", "0.2")

    with run_on_terminal("run", "hello", "--toy", "--out", tmp_path / "out") as terminal:
        terminal.wait_for("━")
        terminal.press(b"\x03")
        code = terminal.end()

    assert code == Exit.INTERRUPTED
    assert terminal.output.rfind("\x1b[?25h") > terminal.output.rfind("\x1b[?25l"), "the cursor is still hidden"


def test_a_terminal_shows_what_is_being_loaded(tmp_path: Path) -> None:
    with run_on_terminal("run", "hello", "--out", tmp_path / "out") as terminal:
        terminal.wait_for("loading the language model")
        terminal.press(b"\x03")

        assert terminal.end() == Exit.INTERRUPTED


def test_a_chat_on_a_terminal_has_line_editing(tmp_path: Path) -> None:
    with run_on_terminal("chat", "--toy", "--only", "text", "--out", tmp_path / "out") as terminal:
        terminal.wait_for("> ")
        # Control-A moves the cursor to the start of the line.
        terminal.press(b"ello\x01h\r")
        terminal.wait_for("You said: hello.")
        terminal.wait_for("succeeded in")
        # Between two prompts, the terminal itself would use up Control-D.
        terminal.output = terminal.output.rpartition("succeeded in")[2]
        terminal.wait_for("> ")
        terminal.press(b"\x04")

        assert terminal.end() == Exit.OK
