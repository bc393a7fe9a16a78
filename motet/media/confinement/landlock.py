"""Landlock: no file, no TCP port, and no signal to or trace of a process outside. See landlock(7)."""

from __future__ import annotations

import ctypes
import os

from motet.media.confinement import linux

# The numbers are equal on all architectures of Python.
_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_VERSION_FLAG = 1
# The number of kinds of file accesses by the version of Landlock. Later versions have as many as the last one here.
_FILE_ACCESSES = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
_TCP_VERSION, _SCOPES_VERSION = 4, 6


class _Ruleset(ctypes.Structure):
    _fields_ = (("file_accesses", ctypes.c_uint64), ("tcp_accesses", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def restrict() -> None:
    """Refuse this thread everything that this kernel's Landlock can refuse. Raises `OSError` without Landlock."""
    version = _version()
    kinds = _FILE_ACCESSES.get(version, _FILE_ACCESSES[max(_FILE_ACCESSES)])
    ruleset = _Ruleset(
        file_accesses=(1 << kinds) - 1,
        tcp_accesses=0b11 if version >= _TCP_VERSION else 0,
        scopes=0b11 if version >= _SCOPES_VERSION else 0,
    )
    # No rule follows, so nothing is allowed.
    descriptor = linux.system_call(_CREATE_RULESET, ctypes.byref(ruleset), ctypes.sizeof(ruleset), 0)
    try:
        linux.system_call(_RESTRICT_SELF, descriptor, 0)
    finally:
        os.close(descriptor)


def _version() -> int:
    try:
        return linux.system_call(_CREATE_RULESET, 0, 0, _VERSION_FLAG)
    except OSError as error:
        raise OSError(error.errno, f"the kernel refuses Landlock: {error.strerror}") from None
