"""A file that is read again while the process runs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from motet.core.errors import SettingsError
from motet.core.files.regular_file import read_file
from motet.core.files.reloaded import RELOAD_INTERVAL, Reloaded
from motet.core.logs.audit import AUDIT
from motet.core.telemetry.families import process_metrics

Value = TypeVar("Value")

_LOG = logging.getLogger(__name__)


def no_details(old: object, new: object) -> Mapping[str, object]:
    """Return no more fields for the audit line of a change."""
    return {}


class ReloadedFile(Reloaded[bytes, Value]):
    """The value of the last valid contents of one file.

    `parse` returns the value of contents and raises `SettingsError` if they are not valid. `name` is the label of the
    file in the metrics. `describe` returns more fields of the audit line of a change, from the old and the new value.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes], Value],
        name: str,
        interval: float = RELOAD_INTERVAL,
        describe: Callable[[Value, Value], Mapping[str, object]] = no_details,
    ) -> None:
        self._path = path
        self._parse_contents = parse
        self._name = name
        self._describe = describe
        super().__init__(interval)
        self._reported = self.current
        # From 0, because an increase from nothing is none for Prometheus.
        process_metrics.ACCESS_RELOADS.labels(name, "refused")

    def _read(self) -> bytes:
        return read_file(self._path)

    def _parse(self, contents: bytes) -> Value:
        return self._parse_contents(contents)

    def _report_used(self) -> None:
        details = self._describe(self._reported, self.current)
        self._reported = self.current
        AUDIT.info("a changed file is in use", extra={"file": self._path.name, **details})
        process_metrics.ACCESS_RELOADS.labels(self._name, "used").inc()

    def _report_refused(self, error: SettingsError) -> None:
        _LOG.error("the old contents stay in use: %s", error.message)
        process_metrics.ACCESS_RELOADS.labels(self._name, "refused").inc()
