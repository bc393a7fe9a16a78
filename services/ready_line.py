"""The line that a service prints when ready, for people and for the parent process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

_LINE = re.compile(r"motet: (?P<service>.+) is serving on (?P<address>.+), metrics on (?P<metrics>\S+)")


@dataclass(frozen=True, slots=True)
class ReadyLine:
    """A service's name, its bound address, and the address of its metrics."""

    service: str
    address: str
    metrics: str

    def __str__(self) -> str:
        return f"motet: {self.service} is serving on {self.address}, metrics on {self.metrics}"

    @classmethod
    def read(cls, line: str) -> Self | None:
        """Return the ready line in a line of output, or None for any other line."""
        match = _LINE.fullmatch(line.strip())
        return None if match is None else cls(**match.groupdict())
