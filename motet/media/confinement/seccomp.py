"""The installation of a filter of system calls."""

from __future__ import annotations

import ctypes
import errno

from motet.media.confinement import linux

_MODE_FILTER = 2
_INSTRUCTION_BYTES = 8


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install(system_call_filter: bytes) -> None:
    """Filter the system calls of this thread for good. Raises `OSError` without a filter, or without privileges.

    The process needs no privilege if it has given up the possibility to get new ones.
    """
    if not system_call_filter:
        raise OSError(errno.ENOENT, "the service has no filter of system calls")
    program = _Program(len(system_call_filter) // _INSTRUCTION_BYTES, system_call_filter)
    linux.prctl(linux.PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program))
