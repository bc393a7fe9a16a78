"""The protection of a service's memory from other processes of its user."""

from __future__ import annotations

from motet.media.confinement import linux


def forbid_dumps() -> None:
    """Refuse debuggers, profilers and core dumps of this process, unless root requests them.

    Call it when a service starts. A process that embeds Motet decides for itself. Without Linux there is no effect.
    """
    try:
        linux.prctl(linux.PR_SET_DUMPABLE, 0)
    except OSError:
        # `dumps_state` returns the state.
        return


def dumps_state() -> str:
    """Return the reason why other processes of this user may read the memory of this process, or "" if they may not."""
    try:
        return "debuggers and core dumps of the service are allowed" if linux.prctl(linux.PR_GET_DUMPABLE) else ""
    except OSError as error:
        return str(error.strerror)
