"""The deadline of a call, passed from caller to callee."""

from __future__ import annotations

from dataclasses import dataclass

from motet.core.clock import now
from motet.core.errors import DeadlineError


@dataclass(frozen=True, slots=True)
class Deadline:
    """A time on the clock of `motet.core.clock`, or never.

    A message carries a deadline as the remaining seconds, so the clocks of two machines may differ.
    """

    at: float | None

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """Return the deadline `seconds` from now."""
        return cls(now() + seconds)

    @classmethod
    def never(cls) -> Deadline:
        """Return the deadline that never passes."""
        return cls(None)

    def remaining(self) -> float | None:
        """Return the seconds left: 0.0 after the deadline, None without a deadline."""
        return None if self.at is None else max(0.0, self.at - now())

    def earlier_by(self, seconds: float) -> Deadline:
        """Return an earlier deadline for a callee, so that the callee's response arrives before this deadline."""
        return self if self.at is None else Deadline(self.at - seconds)

    def within(self, seconds: float) -> Deadline:
        """Return the earlier of this deadline and `seconds` from now."""
        at = now() + seconds
        return Deadline(at if self.at is None else min(self.at, at))

    def check(self, doing: str) -> None:
        """Raise `DeadlineError` after the deadline. `doing` completes the message "the deadline passed while ..."."""
        if self.at is not None and now() >= self.at:
            raise DeadlineError(f"the deadline passed while {doing}; allow more time or ask for less")
