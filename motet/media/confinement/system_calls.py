"""The filter of a child's system calls. libseccomp compiles it, in the parent, because a child should import little."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache

_LIBRARY = "libseccomp.so.2"

# Memory, the open descriptors, time, and the end. Codecs of other versions may need those that ours do not.
_ALLOWED = (
    *("brk", "mmap", "mmap2", "munmap", "mremap", "mprotect", "madvise"),
    *("read", "write", "lseek", "_llseek", "fstat", "close"),
    *("futex", "futex_time64", "sched_yield", "sched_getaffinity", "getpid", "gettid", "getrandom"),
    *("clock_gettime", "clock_gettime64", "clock_getres", "gettimeofday", "time", "getrusage", "times"),
    *("nanosleep", "clock_nanosleep", "clock_nanosleep_time64", "restart_syscall"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigreturn", "sigaltstack", "exit", "exit_group"),
)

# A child limits its own processor time when it knows its work. The first argument is the process: 0 is the caller.
_ALLOWED_FOR_ITSELF = ("prlimit64",)

# No codec makes these. They are tries to leave the child, so the kernel kills it.
_FATAL = (
    *("execve", "execveat", "fork", "vfork", "unshare", "setns", "chroot", "pivot_root"),
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "process_mrelease", "kcmp"),
    *("pidfd_open", "pidfd_getfd", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo"),
    *("setuid", "setgid", "setreuid", "setregid", "setresuid", "setresgid", "setgroups", "setfsuid", "setfsgid"),
    *("capset", "personality", "modify_ldt", "add_key", "request_key", "keyctl", "userfaultfd"),
    *("mount", "umount2", "mount_setattr", "move_mount", "open_tree", "fsopen", "fsmount", "fsconfig", "fspick"),
    *("bpf", "perf_event_open", "io_uring_setup", "io_uring_enter", "io_uring_register", "seccomp", "init_module"),
    *("finit_module", "delete_module", "kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct"),
    *("open_by_handle_at", "name_to_handle_at", "quotactl", "syslog", "settimeofday", "clock_settime", "adjtimex"),
)

_ALLOW, _KILL, _PERMISSION_ERROR = 0x7FFF0000, 0x80000000, 0x00050000 | errno.EPERM
_BAD_ARCHITECTURE = 2  # an attribute: the action for system calls of another architecture of the same processor
_EQUAL = 4
_UNKNOWN = -1
_NATIVE = 0


class _Comparison(ctypes.Structure):
    _fields_ = (("argument", ctypes.c_uint), ("operator", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


@cache
def compiled_filter() -> bytes:
    """Return the filter for this processor, for `motet.media.confinement.seccomp.install`.

    It allows what decoding needs. It kills the process for a system call that no codec makes, and any other one fails
    with EPERM, because codecs try some without need. Raises `OSError` without libseccomp, with the remedy.
    """
    if sys.platform != "linux":
        raise OSError(errno.ENOSYS, "this layer needs Linux")
    try:
        library = ctypes.CDLL(_LIBRARY)
    except OSError:
        raise OSError(errno.ENOENT, f"there is no {_LIBRARY}: install the package libseccomp2 or libseccomp") from None
    return _compile(library)


def _compile(library: ctypes.CDLL, architecture: int = _NATIVE) -> bytes:
    library.seccomp_init.restype = ctypes.c_void_p
    context = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(_PERMISSION_ERROR)))
    if not context:
        raise OSError(errno.ENOMEM, "libseccomp cannot create a filter")
    try:
        if architecture != _NATIVE:
            _check(library.seccomp_arch_add(context, ctypes.c_uint32(architecture)))
            _check(library.seccomp_arch_remove(context, ctypes.c_uint32(_NATIVE)))
        _check(library.seccomp_attr_set(context, _BAD_ARCHITECTURE, ctypes.c_uint32(_KILL)))
        for name in _ALLOWED:
            _add(library, context, _ALLOW, name)
        for name in _ALLOWED_FOR_ITSELF:
            _add(library, context, _ALLOW, name, _Comparison(0, _EQUAL, 0, 0))
        for name in _FATAL:
            _add(library, context, _KILL, name)
        with open(os.memfd_create("filter"), "r+b") as file:
            _check(library.seccomp_export_bpf(context, file.fileno()))
            file.seek(0)
            return file.read()
    finally:
        library.seccomp_release(context)


def _add(library: ctypes.CDLL, context: ctypes.c_void_p, action: int, name: str, *comparisons: _Comparison) -> None:
    """Add a rule for a system call. An architecture without the call ignores the rule."""
    number = library.seccomp_syscall_resolve_name(name.encode())
    if number == _UNKNOWN:
        # The library is older than the system call. The call fails with EPERM.
        return
    array = (_Comparison * len(comparisons))(*comparisons)
    _check(library.seccomp_rule_add_array(context, ctypes.c_uint32(action), number, len(comparisons), array))


def _check(result: int) -> None:
    if result < 0:
        raise OSError(-result, f"libseccomp cannot build the filter: {os.strerror(-result)}")
