"""When something must be done by, as a value that is passed down."""

from __future__ import annotations

from dataclasses import dataclass

from motet.core.clock import now
from motet.core.errors import DeadlineError


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the clock of `motet.core.clock`, or never.

    A deadline crosses a wire as the seconds that remain, so the clocks of two machines need not agree.
    """

    at: float | None

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment `seconds` from now."""
        return cls(now() + seconds)

    @classmethod
    def never(cls) -> Deadline:
        """No deadline."""
        return cls(None)

    def remaining(self) -> float | None:
        """Seconds left, 0.0 once passed; None for never."""
        return None if self.at is None else max(0.0, self.at - now())

    def earlier_by(self, seconds: float) -> Deadline:
        """This deadline less a margin: what a next hop gets, so that its answer still arrives here in time."""
        return self if self.at is None else Deadline(self.at - seconds)

    def within(self, seconds: float) -> Deadline:
        """The earlier of this deadline and `seconds` from now."""
        own = now() + seconds
        return Deadline(own if self.at is None else min(self.at, own))

    def check(self, doing: str) -> None:
        """Raise `DeadlineError` once passed; `doing` completes "the deadline passed while ..."."""
        if self.at is not None and now() >= self.at:
            raise DeadlineError(f"the deadline passed while {doing}; allow more time or ask for less")
