"""The one line that a service prints once it is serving, for people and for whoever started it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_LINE = re.compile(r"motet: (?P<service>.+) is serving on (?P<address>.+), metrics on (?P<metrics>\S+)")


@dataclass(frozen=True, slots=True)
class ReadyLine:
    """What serves, and where: its bound address, and the one its metrics are read from."""

    service: str
    address: str
    metrics: str

    def __str__(self) -> str:
        return f"motet: {self.service} is serving on {self.address}, metrics on {self.metrics}"

    @classmethod
    def read(cls, line: str) -> Self | None:
        """The announcement in a line of output, or None for any other line."""
        match = _LINE.fullmatch(line.strip())
        return None if match is None else cls(**match.groupdict())
