"""The load that a worker reports."""

from __future__ import annotations

from dataclasses import dataclass, field

REPORT_INTERVAL = 5.0
"""Maximum interval between a worker's load reports, in seconds. A worker without reports counts as unhealthy."""


@dataclass(frozen=True, slots=True)
class Load:
    """A worker's load at one moment.

    `running` is the number of running calls, at most `slots` (0: no limit). `queued` is the number of queued calls. The
    worker refuses a call if `running + queued` is `limit` (0: no limit). `seconds` is the predicted work of all running
    and queued calls. `bundle_digest` names the model that the worker serves, "" if it serves no particular model.
    """

    running: int = 0
    queued: int = 0
    limit: int = 0
    draining: bool = False
    bundle_digest: str = ""
    slots: int = 0
    seconds: float = field(default=0.0, compare=False)
