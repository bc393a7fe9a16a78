"""The result of a benchmark: figures, their baselines and bars, and the machine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from services.benchmarks.reports.hardware import hardware


@dataclass(frozen=True, slots=True)
class Bar:
    """The limit of a figure: it applies to the ratio if the figure has a baseline, else to the value."""

    sign: Literal["<=", ">="]
    limit: float

    def met_by(self, number: float) -> bool:
        """Return True if the number is within the limit."""
        return number <= self.limit if self.sign == "<=" else number >= self.limit


def at_most(limit: float) -> Bar:
    """Return the bar of a figure that must not exceed `limit`."""
    return Bar("<=", limit)


def at_least(limit: float) -> Bar:
    """Return the bar of a figure that must reach `limit`."""
    return Bar(">=", limit)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A value to compare a figure with: measured in the same run, in the same unit."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured number. A figure that claims speed has a baseline, and its bar applies to the ratio."""

    name: str
    value: float
    unit: str
    baseline: Baseline | None = None
    bar: Bar | None = None

    @property
    def ratio(self) -> float | None:
        """The value divided by the baseline; None without a baseline or with a baseline of zero."""
        return self.value / self.baseline.value if self.baseline and self.baseline.value else None

    @property
    def met(self) -> bool | None:
        """True if the figure meets its bar; None without a bar."""
        if self.bar is None:
            return None
        judged = self.ratio if self.baseline else self.value
        return judged is not None and self.bar.met_by(judged)

    @property
    def bar_text(self) -> str:
        """The bar as text; "" without a bar."""
        if self.bar is None:
            return ""
        return f"{self.bar.sign} {self.bar.limit:g} {'x' if self.baseline else self.unit}".rstrip()

    def as_dict(self) -> dict[str, Any]:
        """Return all fields and the verdict, for JSON."""
        return {
            "name": self.name,
            "value": self.value,
            "unit": self.unit,
            "baseline": asdict(self.baseline) if self.baseline else None,
            "ratio": self.ratio,
            "bar": self.bar_text or None,
            "limit": self.bar.limit if self.bar else None,
            "met": self.met,
        }


@dataclass(frozen=True, slots=True)
class Report:
    """The result of one run of a benchmark.

    `settings` are the parameters of the run. `notes` explain how to judge the figures. `details` hold the samples
    behind the figures, as JSON values. `hardware` and `time` are detected.
    """

    name: str
    settings: Mapping[str, Any]
    figures: Sequence[Figure]
    notes: Sequence[str] = ()
    details: Mapping[str, Any] = field(default_factory=dict)
    hardware: Mapping[str, Any] = field(default_factory=hardware)
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))

    @property
    def met(self) -> bool:
        """True if no figure misses its bar."""
        return all(figure.met is not False for figure in self.figures)

    def figure(self, name: str) -> Figure:
        """Return the first figure with that name. Raises `KeyError`."""
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(name)

    def as_dict(self) -> dict[str, Any]:
        """Return the whole report, for JSON."""
        return {
            "name": self.name,
            "time": self.time,
            "hardware": dict(self.hardware),
            "settings": dict(self.settings),
            "figures": [figure.as_dict() for figure in self.figures],
            "met": self.met,
            "notes": list(self.notes),
            "details": dict(self.details),
        }

    def json(self) -> str:
        """Return the report as one JSON document."""
        return json.dumps(self.as_dict(), indent=1)

    def write(self, path: Path) -> None:
        """Write the JSON document to a file. Create its folder if needed."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.json() + "\n")
