"""The log line of each call that a server handled."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from motet.core.errors import MotetError, Reason
from motet.core.logs.log_fields import LogFields

_LOG = logging.getLogger(__name__)

_PUBLIC_PREFIX = "/motet.v1."
"""Prefix of the public methods. The other ones are those of workers, and the orchestrator logs their outcome."""

_LEVELS: Mapping[Reason, int] = {
    **dict.fromkeys(
        (Reason.INTERNAL, Reason.WORKER_FAULT, Reason.EVENTS_INVALID, Reason.BUNDLE_INVALID), logging.ERROR
    ),
    **dict.fromkeys(
        (
            Reason.QUEUE_FULL,
            Reason.WORKER_UNAVAILABLE,
            Reason.WORKER_LOST,
            Reason.OUT_OF_MEMORY,
            Reason.DEADLINE_EXCEEDED,
        ),
        logging.WARNING,
    ),
}
"""Levels of calls that failed for a reason that an operator may want to act on. Others have the level INFO."""


def log_call(method: str, code: str, seconds: float, error: MotetError | None, fields: LogFields) -> None:
    """Write the line of a call that ended with a status code. `fields` are more fields of the line.

    `error` is None for OK and for a cancelled call.

    Calls of other than public methods have the level DEBUG if they did not fail.
    """
    if error is None:
        level = logging.INFO if method.startswith(_PUBLIC_PREFIX) else logging.DEBUG
    else:
        level = _LEVELS.get(error.reason, logging.INFO)
    if _LOG.isEnabledFor(level):
        reason = error.reason.value if error else ""
        line = {"method": method, "code": code, "reason": reason, "seconds": round(seconds, 6), **fields}
        _LOG.log(level, "a call ended", extra=line)
