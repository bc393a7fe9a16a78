"""One service as a process that `motet up` started."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Self

from motet.core.errors import FaultError, MotetError, SettingsError
from services.exit_codes import Exit
from services.ready_line import ReadyLine


class ChildProcess:
    """A service in a process of its own, which ends when it is told to, or when this process is no more.

    The child reads a pipe that nobody ever writes to: its end means that the parent is gone, however it went.
    """

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def start(
        cls, name: str, arguments: Sequence[str], log_level: str, program: Sequence[str] = ("services", "serve")
    ) -> Self:
        """Start `motet serve ARGUMENTS`, or another module that announces itself and takes a leash.

        Its log lines go where this process's go.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            # A folder called "services" where the user happens to stand is not ours.
            "-P",
            *("-m", *program, *arguments, "--exit-with-parent"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={"MOTET_LOG_LEVEL": log_level, **os.environ},
            # Ctrl-C goes to a terminal's whole process group; who drains when is for this process to say. Not a session
            # of its own: Linux may share the processors among sessions, whose processes' niceness then counts nothing.
            process_group=0,
        )
        return cls(name, process)

    async def announced(self) -> ReadyLine:
        """Where it serves, once it does. Raises `MotetError`, naming it, when it ends instead."""
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            if announcement := ReadyLine.read(line.decode(errors="replace")):
                return announcement
        raise self._ended(await self._process.wait())

    async def death(self) -> MotetError:
        """Why it ended, once it does, unasked."""
        return self._ended(await self._process.wait())

    async def drained(self, grace: float) -> None:
        """Tell it to finish what it has begun and to end; wait for that, but no longer than `grace` seconds."""
        if self._process.returncode is None:
            self._process.terminate()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self._process.wait()

    async def killed(self) -> None:
        """End it now, if it has not ended."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()

    def _ended(self, code: int) -> MotetError:
        if code == Exit.REFUSED:
            return SettingsError(f"{self.name} could not start; its own line says why")
        how = f"was killed by signal {-code}" if code < 0 else f"ended with code {code}"
        return FaultError(f"{self.name} {how}")
