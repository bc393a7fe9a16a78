"""The time and the processor time until a new process writes its first output."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from time import perf_counter
from typing import Self

from motet.core.errors import FaultError


@dataclass(frozen=True, slots=True)
class FirstOutput:
    """The seconds from the start of a process to the first byte on its standard output.

    `processor_seconds` is the time of all threads of the process on any core.
    """

    seconds: float
    processor_seconds: float

    @classmethod
    def of(cls, command: Sequence[str], folder: Path) -> Self:
        """Run a command in a folder, and kill its process after the first output.

        The process has no `MOTET_*` variables. Raises `FaultError`, with the end of the process's standard error, if
        the process ends without output.
        """
        environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("MOTET_")}
        with TemporaryFile() as errors:
            start = perf_counter()
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=folder,
                env=environment,
            )
            assert process.stdout is not None
            with process.stdout:
                first = os.read(process.stdout.fileno(), 1)
                seconds = perf_counter() - start
            # Unlike Popen.wait, os.wait4 returns the processor time of this one process. Popen.kill may wait for the
            # process itself, and then os.wait4 finds none.
            os.kill(process.pid, signal.SIGKILL)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            if not first:
                errors.seek(0)
                lines = errors.read().decode(errors="replace").strip().splitlines() or ["it wrote no error"]
                raise FaultError(f"{' '.join(command)} ended without output: {lines[-1]}")
        return cls(seconds, usage.ru_utime + usage.ru_stime)
