"""Durations on the command line, such as 30d."""

from __future__ import annotations

import re
from datetime import timedelta

import typer

NEVER = "never"

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile("([1-9][0-9]{0,8})([smhd])")
_MAX = timedelta(days=3660)


def duration_of(text: str) -> timedelta | None:
    """Return a duration such as 30d, 12h, 15m or 90s, or None for "never". Raises `typer.BadParameter`."""
    if text == NEVER:
        return None
    found = _DURATION.fullmatch(text)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= _MAX.total_seconds():
        raise typer.BadParameter(f"{text!r} is not a duration from 1s to {_MAX.days}d: write 30d, 12h, 15m or {NEVER}")
    return timedelta(seconds=seconds)
