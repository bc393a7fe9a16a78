"""A file that is read again while the process runs."""

from __future__ import annotations

import asyncio
import logging
import stat
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from motet.core import metrics
from motet.core.errors import SettingsError
from motet.core.logs.audit import AUDIT

Value = TypeVar("Value")

RELOAD_INTERVAL = 1.0
"""Seconds between two looks at a file."""

MAX_BYTES = 64 * 2**20
"""Maximum size of a file in bytes."""

_LOG = logging.getLogger(__name__)


def read_file(path: Path) -> bytes:
    """Return the bytes of a file. Raises `SettingsError` for a file that is missing, too large or not regular."""
    try:
        # Opening a pipe would wait for a writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise SettingsError(f"{path} is not a regular file; name a file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MAX_BYTES:
        raise SettingsError(f"{path} is larger than {MAX_BYTES} bytes; name a smaller file")
    return data


class ReloadedFile(Generic[Value]):
    """The value of the last valid contents of a file. `async with` reads the file again every `interval` seconds.

    `parse` returns the value of contents and raises `SettingsError` if they are not valid. New contents that are not
    valid are logged once, and the old value stays in use. `name` is the label of the file in the metrics.

    Raises `SettingsError` if the first contents cannot be read or are not valid.
    """

    def __init__(
        self, path: Path, parse: Callable[[bytes], Value], name: str, interval: float = RELOAD_INTERVAL
    ) -> None:
        self._path = path
        self._parse = parse
        self._name = name
        self._interval = interval
        self._contents = read_file(path)
        self._refusal = ""
        self.current = parse(self._contents)
        """The value in use."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()

    def reload(self) -> None:
        """Read the file, and use its value if it changed and is valid."""
        try:
            contents = read_file(self._path)
            if contents == self._contents:
                return
            self._contents = contents
            self.current = self._parse(contents)
        except SettingsError as error:
            self._refuse(error)
        else:
            self._refusal = ""
            AUDIT.info("a changed file is in use", extra={"file": self._path.name})
            metrics.ACCESS_RELOADS.labels(self._name, "used").inc()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            # A file may be on a network, and may have many lines.
            await asyncio.to_thread(self.reload)

    def _refuse(self, error: SettingsError) -> None:
        """Log and count an error, unless it is the error of the last look: a broken file is an error every time."""
        if error.message != self._refusal:
            self._refusal = error.message
            _LOG.error("the old contents stay in use: %s", error.message)
            metrics.ACCESS_RELOADS.labels(self._name, "refused").inc()
