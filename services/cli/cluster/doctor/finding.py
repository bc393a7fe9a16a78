"""Results of the checks of a cluster."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """The result of a check. With `FAIL`, the installation would not work."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """A result with the state that was found, and what to change unless the check passed."""

    check: str
    result: Result
    message: str
    remedy: str = ""


def passed(check: str, message: str) -> Finding:
    """Return the finding of a check that passed."""
    return Finding(check, Result.PASS, message)


def warned(check: str, message: str, remedy: str) -> Finding:
    """Return the finding of a state that may not work, or that could not be checked."""
    return Finding(check, Result.WARN, message, remedy)


def failed(check: str, message: str, remedy: str) -> Finding:
    """Return the finding of a check that failed."""
    return Finding(check, Result.FAIL, message, remedy)
