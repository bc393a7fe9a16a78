"""The system calls of Linux that Python's standard library does not have. Each raises `OSError`."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from typing import Any

PR_SET_PDEATHSIG = 1
PR_GET_DUMPABLE = 3
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38

_CAPABILITY_VERSION = 0x20080522  # the third version, with 64 capabilities in two words

_libc = ctypes.CDLL(None, use_errno=True)


class _CapabilityHeader(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("process", ctypes.c_int))


class _CapabilityWords(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def prctl(option: int, argument: int = 0, pointer: Any = 0) -> int:
    """Set or get an attribute of this process, see prctl(2)."""
    zero = ctypes.c_ulong(0)
    return _checked(_library().prctl(option, ctypes.c_ulong(argument), pointer or zero, zero, zero))


def system_call(number: int, *arguments: Any) -> int:
    """Make a system call for which the C library has no function. Integers are passed as 64 bits."""
    wide = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    return _checked(_library().syscall(ctypes.c_long(number), *wide))


def capabilities() -> int:
    """Return the effective capabilities of this process, one bit each."""
    words = (_CapabilityWords * 2)()
    _checked(_library().capget(ctypes.byref(_CapabilityHeader(_CAPABILITY_VERSION, 0)), words))
    return int(words[1].effective) << 32 | int(words[0].effective)


def drop_capabilities() -> None:
    """Give up all effective, permitted and inheritable capabilities of this process."""
    words = (_CapabilityWords * 2)()
    _checked(_library().capset(ctypes.byref(_CapabilityHeader(_CAPABILITY_VERSION, 0)), words))


def _library() -> ctypes.CDLL:
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "this layer needs Linux")
    return _libc


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
