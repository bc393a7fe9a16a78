"""The minimum levels of log lines, from a file that may change while the process runs."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from motet.core.errors import SettingsError
from motet.core.files.reloaded_file import ReloadedFile

LEVELS = ("debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class LogLevels:
    """The minimum level of all lines, and those of single loggers with everything below them."""

    root: str
    loggers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str, source: str) -> LogLevels:
        """Return the levels of a text such as "info" or "info orchestrator.pool=debug".

        Words are separated by spaces and line ends. One of them is the level of all lines. Raises `SettingsError` for
        anything else; its message begins with the `source`.
        """
        root, loggers = "", {}
        for word in text.split():
            logger, equals, level = word.rpartition("=")
            if level not in LEVELS:
                raise SettingsError(f"{source}: {word[:100]!r} is not a level; use one of {', '.join(LEVELS)}")
            if equals and not logger:
                raise SettingsError(f"{source}: {word[:100]!r} names no logger; write LOGGER={level}")
            if not equals and root:
                raise SettingsError(f"{source} has two levels for all lines; leave one of them")
            if equals:
                loggers[logger] = level
            else:
                root = level
        if not root:
            raise SettingsError(f"{source} has no level for all lines; add one of {', '.join(LEVELS)}")
        return cls(root, loggers)

    def use(self) -> None:
        """Set the levels of the loggers of this process."""
        logging.getLogger().setLevel(self.root.upper())
        for logger, level in self.loggers.items():
            logging.getLogger(logger).setLevel(level.upper())


class LogLevelFile(ReloadedFile[LogLevels]):
    """The levels of a file, in use from the start, and again after each change.

    Raises `SettingsError` if the file cannot be read or is not valid. A later change that is not valid is reported, and
    the levels stay.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, lambda data: LogLevels.parse(data.decode(errors="replace"), path.name), "log_levels")
        self.current.use()

    def _report_used(self) -> None:
        # Loggers that the new contents do not name get the level of all lines again.
        for logger in self._reported.loggers:
            logging.getLogger(logger).setLevel(logging.NOTSET)
        self.current.use()
        super()._report_used()
