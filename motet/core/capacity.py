"""How much work a worker has, and how much more it takes."""

from __future__ import annotations

from dataclasses import dataclass, field

REPORT_INTERVAL = 5.0
"""Seconds after which a worker tells its load again although it has not changed: whoever tells nothing is not well."""


@dataclass(frozen=True, slots=True)
class Load:
    """A worker's load at one moment.

    `running` calls are worked on, at most `slots` at a time (0: no limit), `queued` ones wait; the next is refused when
    both together reach `limit`, 0 for none. `seconds` of work are predicted for them all. `bundle_digest` names what it
    serves, "" for nothing in particular.
    """

    running: int = 0
    queued: int = 0
    limit: int = 0
    draining: bool = False
    bundle_digest: str = ""
    slots: int = 0
    seconds: float = field(default=0.0, compare=False)
