"""What a benchmark found, and on which machine."""

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
    """What a figure must reach: its ratio where it has a baseline, else its value."""

    sign: Literal["<=", ">="]
    limit: float

    def met_by(self, judged: float) -> bool:
        """Whether that is good enough."""
        return judged <= self.limit if self.sign == "<=" else judged >= self.limit


def at_most(limit: float) -> Bar:
    """The smaller the better, and no more than this."""
    return Bar("<=", limit)


def at_least(limit: float) -> Bar:
    """The larger the better, and no less than this."""
    return Bar(">=", limit)


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a figure is compared with: measured in the same run, in the same unit."""

    name: str
    value: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that was measured. Whoever claims speed gives a baseline; the bar is then on the ratio to it."""

    name: str
    value: float
    unit: str
    baseline: Baseline | None = None
    bar: Bar | None = None

    @property
    def ratio(self) -> float | None:
        """The value in baselines, None without one (or with one of zero)."""
        return self.value / self.baseline.value if self.baseline and self.baseline.value else None

    @property
    def met(self) -> bool | None:
        """Whether the bar is reached; None where there is no bar."""
        if self.bar is None:
            return None
        judged = self.ratio if self.baseline else self.value
        return judged is not None and self.bar.met_by(judged)

    @property
    def bar_text(self) -> str:
        """The bar as people read it, "" for none."""
        if self.bar is None:
            return ""
        return f"{self.bar.sign} {self.bar.limit:g} {'x' if self.baseline else self.unit}".rstrip()

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
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
    """What one run of a benchmark found.

    `settings` say how it was run, `notes` what a reader must know to judge the figures, and `details` hold whatever
    the figures were computed from, as JSON can hold it. The machine and the time are found, never given.
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
        """Whether no figure misses its bar."""
        return all(figure.met is not False for figure in self.figures)

    def figure(self, name: str) -> Figure:
        """The figure of that name. Raises `KeyError`."""
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(name)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
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
        """One JSON document."""
        return json.dumps(self.as_dict(), indent=1)

    def write(self, path: Path) -> None:
        """Write the JSON to a file, making its folder."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.json() + "\n")
