"""The `motet` command in a process, as a user runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from tests.canary import CANARY

COMMAND = (sys.executable, "-P", "-m", "services")
TIMEOUT = 90.0

# Settings in the developer's environment must not affect tests.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("MOTET_")}


def motet(*arguments: object, stdin: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    for argument in map(str, arguments):
        # An argument of several words is a prompt.
        if " " in argument:
            CANARY.add_text(argument)
    result = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=TIMEOUT,
        cwd=folder,
        env=CLEAN,
    )
    CANARY.see(result.stderr)
    return result


@contextmanager
def started(*arguments: object, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command, with settings in its environment, and kill it on exit if it still runs."""
    # A shell's background jobs ignore Ctrl-C, and child processes inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with _SeenProcess(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=CLEAN | {f"MOTET_{name.upper()}": value for name, value in settings.items()},
        # As in a terminal: a signal goes to the whole process group.
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.see_rest()


class _SeenProcess(subprocess.Popen[str]):
    """A process whose log lines the canary sees, also those that no test reads."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        assert self.stderr is not None
        self.stderr = _SeenLines(self.stderr)  # type: ignore[assignment]

    def communicate(self, *arguments: Any, **options: Any) -> tuple[str, str]:
        output, lines = super().communicate(*arguments, **options)
        CANARY.see(lines)
        return output, lines

    def see_rest(self) -> None:
        """See the lines that are left. Children of the process may still have the pipe, so it may have no end."""
        if self.stderr is None or self.stderr.closed:
            return
        os.set_blocking(self.stderr.fileno(), False)
        rest = b""
        with suppress(BlockingIOError):
            while data := os.read(self.stderr.fileno(), 2**16):
                rest += data
        CANARY.see(rest.decode(errors="replace"))


class _SeenLines:
    """The standard error of a process. The canary sees each line that a test reads."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __iter__(self) -> Iterator[str]:
        return iter(self.readline, "")

    def readline(self) -> str:
        line = self._stream.readline()
        CANARY.see(line)
        return line

    def read(self) -> str:
        text = self._stream.read()
        CANARY.see(text)
        return text


def interrupt(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Press Ctrl-C, as a signal to the process group, and return the rest of the output."""
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=TIMEOUT)


def table_of(up: subprocess.Popen[str]) -> dict[str, list[str]]:
    """Wait until all services are ready, and return the address and the metrics address of each."""
    assert up.stdout is not None
    table: dict[str, list[str]] = {}
    for line in iter(up.stdout.readline, ""):
        if line.startswith("motet run"):
            return table
        *name, address, metrics = line.split() or ["", ""]
        if name and address != "address":
            table[" ".join(name)] = [address, metrics]
    raise AssertionError(f"motet up failed: {up.communicate()[1]}")


def eventually(condition: Callable[[], bool]) -> bool:
    """Return whether a condition becomes true within `TIMEOUT` seconds."""
    end = time.monotonic() + TIMEOUT
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def files_in(folder: Path) -> dict[str, bytes]:
    """Return the content of each file in a folder by the file's name, in the order of the names."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
