"""A service in a child process."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from motet.core.concurrent.processes import kill_process
from motet.core.errors import FaultError, MotetError, SettingsError
from services.exit_codes import Exit
from services.ready_line import ReadyLine


class ChildProcess:
    """A service in a child process. The child stops on SIGTERM, or if this process ends.

    The child reads a pipe that is never written to. The pipe ends when this process ends, even by SIGKILL.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def start(
        cls,
        name: str,
        arguments: Sequence[str],
        log_level: str,
        program: Sequence[str] = ("services", "serve"),
        stderr: int | None = None,
    ) -> Self:
        """Start `motet serve ARGUMENTS`, or another module that prints a ready line and takes `--exit-with-parent`.

        The child's log lines go to `stderr`, by default this process's standard error.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # Without -P, a folder called "services" in the working directory hides this package.
            "-P",
            *("-m", *program, *arguments, "--exit-with-parent"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env={"MOTET_LOG_LEVEL": log_level, **os.environ},
            # Ctrl-C goes to a terminal's whole process group, but this process decides the order of draining. A new
            # session would do too, but Linux may share CPU time between sessions, which makes niceness ineffective.
            process_group=0,
        )
        return cls(name, process)

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    async def wait_ready(self) -> ReadyLine:
        """Wait until the service is ready, and return its addresses. Raises `MotetError` if the process ends first."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if ready_line := ReadyLine.read(line.decode(errors="replace")):
                return ready_line
        raise self._exit_error(await self._process.wait())

    async def wait(self) -> MotetError:
        """Wait until the process ends, and return an error that names the process and its exit code."""
        return self._exit_error(await self._process.wait())

    @property
    def runs(self) -> bool:
        """True while the process runs."""
        return self._process.returncode is None

    async def drain(self, seconds: float) -> bool:
        """Send SIGTERM, and wait up to `seconds` seconds. Return whether the process ended with exit code 0."""
        if self.runs:
            self._process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
        return self._process.returncode == Exit.OK

    async def kill(self) -> None:
        """Kill the process, if it still runs, and wait until it ends."""
        await kill_process(self._process)

    def _exit_error(self, code: int) -> MotetError:
        if code == Exit.REFUSED:
            return SettingsError(f"{self.name} could not start; its own error line says why")
        outcome = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return FaultError(f"{self.name} {outcome}")
