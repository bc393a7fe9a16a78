"""An exponentially weighted moving average."""

from __future__ import annotations

WEIGHT = 0.2
"""Weight of the newest value."""


class MovingAverage:
    """The exponentially weighted moving average of the values added so far; `value` is None before the first one."""

    __slots__ = ("value",)

    def __init__(self, value: float | None = None) -> None:
        self.value = value

    def add(self, value: float) -> None:
        """Include a newer value."""
        self.value = value if self.value is None else self.value + WEIGHT * (value - self.value)
