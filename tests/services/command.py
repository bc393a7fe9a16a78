"""The `motet` command as a person runs it: a process, with the time and the patience of a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

COMMAND = (sys.executable, "-P", "-m", "services")
PATIENCE = 30.0

# The tests' own environment must not set what a test does not.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("MOTET_")}


def motet(*arguments: object, said: str = "", folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run it to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=said,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=PATIENCE,
        cwd=folder,
        env=CLEAN,
    )


@contextmanager
def started(*arguments: object, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Start it, with settings in its environment; it is killed at the end of the test if it is still there."""
    # A shell has its background jobs ignore Ctrl-C, and what tests start there would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=CLEAN | {f"MOTET_{name.upper()}": value for name, value in settings.items()},
        # As in a terminal: what is sent to it can be sent to its whole group.
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def interrupted(process: subprocess.Popen[str]) -> tuple[str, str]:
    """Press Ctrl-C: a terminal tells the whole process group. Returns what it still printed."""
    os.killpg(process.pid, signal.SIGINT)
    return process.communicate(timeout=PATIENCE)


def table_of(up: subprocess.Popen[str]) -> dict[str, list[str]]:
    """Each service's address and metrics address, once all serve."""
    assert up.stdout is not None
    table: dict[str, list[str]] = {}
    for line in iter(up.stdout.readline, ""):
        if line.startswith("motet run"):
            return table
        *name, address, metrics = line.split() or ["", ""]
        if name and address != "address":
            table[" ".join(name)] = [address, metrics]
    raise AssertionError(f"motet up came to nothing: {up.communicate()[1]}")


def eventually(true: Callable[[], bool]) -> bool:
    """Whether something comes true while a test can wait."""
    end = time.monotonic() + PATIENCE
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def files_in(folder: Path) -> dict[str, bytes]:
    """Every file in a folder by its name, in the order of the names."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
