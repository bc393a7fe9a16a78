"""The side that is at fault for an error: the server, or its caller."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from motet.core.errors import MotetError, Reason


class Fault(StrEnum):
    """The side at fault. It is the value of the label `fault`."""

    NONE = ""
    """No fault of its own: a success, or a failure that follows from another one."""
    CALLER = "caller"
    """The caller has to change the request, its credentials or its quota, or it cancelled the work."""
    SERVER = "server"
    """The deployment failed, or was too slow or too full."""


_OTHERS: Mapping[Reason, Fault] = {
    **dict.fromkeys(
        (
            Reason.QUEUE_FULL,
            Reason.DRAINING,
            Reason.WORKER_UNAVAILABLE,
            Reason.WORKER_LOST,
            Reason.OUT_OF_MEMORY,
            Reason.DEADLINE_EXCEEDED,
            Reason.SIGNAL_BROKEN,
            Reason.WORKER_FAULT,
            Reason.INTERNAL,
            Reason.EVENTS_INVALID,
            Reason.BUNDLE_INVALID,
            Reason.SETTINGS_INVALID,
            Reason.ADDRESS_IN_USE,
        ),
        Fault.SERVER,
    ),
    Reason.DEPENDENCY_FAILED: Fault.NONE,
}
"""The faults of reasons that are not the caller's."""


def fault_of(error: MotetError | None) -> Fault:
    """Return the side at fault for an error. A deadline that passed counts as the server's, as in usual objectives."""
    return Fault.NONE if error is None else fault_of_reason(error.reason)


def fault_of_reason(reason: Reason) -> Fault:
    """Return the side at fault for a reason."""
    return _OTHERS.get(reason, Fault.CALLER)
