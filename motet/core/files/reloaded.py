"""Values that are read again while the process runs, from files or from a URL."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Generic, Self, TypeVar

from motet.core.errors import SettingsError

Contents = TypeVar("Contents")
Value = TypeVar("Value")

_LOG = logging.getLogger(__name__)

RELOAD_INTERVAL = 1.0
"""Seconds between two reads of files."""


class Reloaded(ABC, Generic[Contents, Value]):
    """The value of the last valid contents. `async with` reads the source again every `interval` seconds.

    Files are compared by their contents, because a replaced file may have the size and the time of the old one. New
    contents that are not valid are reported once, and the old value stays in use.

    Raises `SettingsError` if the first contents cannot be read or are not valid.
    """

    def __init__(self, interval: float) -> None:
        self._interval = interval
        self._refusal = ""
        self._reading: asyncio.Task[None] | None = None
        self._contents = self._read()
        self.current = self._parse(self._contents)
        """The value in use."""

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()

    @property
    def refreshing(self) -> bool:
        """True while the source is read in a thread."""
        return self._reading is not None and not self._reading.done()

    async def refresh(self) -> None:
        """Read the source in a thread, as `reload` does. Wait for the read that runs, if there is one."""
        if self._reading is None or not self.refreshing:
            self._reading = asyncio.create_task(asyncio.to_thread(self.reload))
        # A caller that stops to wait does not end the read.
        await asyncio.shield(self._reading)

    def reload(self) -> None:
        """Read the source, and use its value if it changed and is valid."""
        try:
            contents = self._read()
            if contents == self._contents:
                return
            self._contents = contents
            self.current = self._parse(contents)
        except SettingsError as error:
            # A broken file is an error at every look.
            if error.message != self._refusal:
                self._refusal = error.message
                self._report_refused(error)
        else:
            self._refusal = ""
            self._report_used()

    @abstractmethod
    def _read(self) -> Contents:
        """Return the contents. Raises `SettingsError`."""

    @abstractmethod
    def _parse(self, contents: Contents) -> Value:
        """Return the value of contents. Raises `SettingsError` if they are not valid."""

    @abstractmethod
    def _report_used(self) -> None:
        """Log and count that new contents are in use."""

    @abstractmethod
    def _report_refused(self, error: SettingsError) -> None:
        """Log and count that new contents are not valid."""

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            # A file may be on a network, and the check of its contents takes milliseconds.
            try:
                await self.refresh()
            except Exception:
                # The next change is used again.
                _LOG.exception("the old value stays in use, because reading the new one failed unexpectedly")
