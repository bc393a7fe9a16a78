"""The standard streams of a command: closed ones, full ones, and ones with a small encoding."""

from __future__ import annotations

import io
import os
import sys
from typing import TextIO

from motet.core.errors import RequestError
from services.exit_codes import Exit
from services.terminal import print_status

STDIN, STDOUT, STDERR = range(3)
_NAMES = {STDIN: "standard input", STDOUT: "standard output"}

_closed: set[int] = set()


class OutputError(OSError):
    """Standard output cannot be written, for example because its disk is full."""


class _Output(io.FileIO):
    """Standard output. An error differs from errors of other files."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(error.errno, error.strerror) from error


class _Messages(io.FileIO):
    """Standard error. Messages that cannot be written are dropped: they must not end an answer."""

    def write(self, data: object) -> int:
        try:
            return super().write(data)  # type: ignore[arg-type]
        except OSError:
            return memoryview(data).nbytes  # type: ignore[arg-type]


def prepare_streams() -> None:
    """Make the standard streams usable. Call it once, before a command opens files.

    A closed stream is replaced by the null device, so that no later file gets its number. A character that a stream's
    encoding lacks is written as an escape, such as `\\u2014`.
    """
    for number in (STDIN, STDOUT, STDERR):
        try:
            os.fstat(number)
        except OSError:
            _closed.add(number)
            null = os.open(os.devnull, os.O_RDWR)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            os.set_inheritable(number, True)
    if STDIN in _closed:
        sys.stdin = open(STDIN, closefd=False)  # noqa: SIM115
    sys.stdout = _writer(_Output(STDOUT, "w", closefd=False), sys.stdout)
    sys.stderr = _writer(_Messages(STDERR, "w", closefd=False), sys.stderr)


def check_open(*numbers: int) -> None:
    """Raise `RequestError` if a standard stream that a command needs is closed. The numbers are 0 and 1."""
    for number in numbers:
        if number in _closed:
            raise RequestError(f"{_NAMES[number]} is closed, but the command needs it: redirect it")


def end_output(error: OSError) -> Exit:
    """Discard the rest of the output after an error of standard output, and return the exit code of the command.

    A reader that left, as `head` does, needs no message.
    """
    # Otherwise the interpreter's last flush fails, too.
    os.dup2(os.open(os.devnull, os.O_WRONLY), STDOUT)
    if not isinstance(error, BrokenPipeError):
        print_status(f"standard output cannot be written: {error.strerror}")
    return Exit.FAILED


def _writer(file: io.FileIO, replaced: TextIO | None) -> TextIO:
    encoding = "utf-8" if replaced is None else replaced.encoding
    line_buffering = file.isatty() or file.fileno() == STDERR
    return io.TextIOWrapper(io.BufferedWriter(file), encoding, "backslashreplace", line_buffering=line_buffering)
