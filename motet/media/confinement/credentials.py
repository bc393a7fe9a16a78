"""The change of a child's user, and the loss of its privileges."""

from __future__ import annotations

import errno
import os
import signal

from motet.media.confinement import linux

_FIRST_USER = 1_879_048_192
"""The first user id that no distribution and no container manager assigns. A child adds its process id to it."""
_UNPRIVILEGED = 65_534
_CAP_KILL = 1 << 5


def change_user() -> None:
    """Change to a user and a group that only this process has, without supplementary groups.

    In a container that maps few users, it is the user 65534. Raises `OSError` unless the service runs as root and may
    end processes of other users.
    """
    if os.geteuid() != 0:
        raise OSError(errno.EPERM, "the service does not run as root, so its children run as the service's user")
    if not linux.capabilities() & _CAP_KILL:
        raise OSError(errno.EPERM, "the service lacks CAP_KILL, so it could not end children of another user")
    os.setgroups([])
    try:
        _set(_FIRST_USER + os.getpid())
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        _set(_UNPRIVILEGED)


def drop_privileges() -> None:
    """Give up all capabilities, for good. The kernel kills this process if its parent dies."""
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    # A change of the user would reset it.
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)


def _set(number: int) -> None:
    os.setresgid(number, number, number)
    os.setresuid(number, number, number)
