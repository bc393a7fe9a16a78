"""Attempts to escape from a decoding child, each in a real child of a real process that has the role of the service.

`EscapeService` is the test's side. `main` is the service's side: it starts a child per attempt and checks the outcome.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from motet.media.confinement import linux
from motet.media.confinement.layers import Layer, confine
from motet.media.confinement.system_calls import compiled_filter
from motet.media.limits import DEFAULT_LIMITS

DONE = "done"
UNPRIVILEGED = 65_534
_SIZE = 8
_IS_X86 = os.uname().machine == "x86_64"
_KEYCTL, _BPF = (250, 321) if _IS_X86 else (219, 280)
_PIDFD_GETFD, _IO_URING_SETUP = 438, 425
_BEFORE, _AFTER, _WRITTEN = b"earlier.", b"secret..", b"changed."

_libc = ctypes.CDLL(None, use_errno=True)
_secret = ctypes.create_string_buffer(_BEFORE, _SIZE)
_listener = socket.socket()
_abstract_listener = socket.socket(socket.AF_UNIX)


class _Vector(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def _vectors(data: ctypes.Array[ctypes.c_char]) -> tuple[object, ...]:
    mine = _Vector(ctypes.cast(data, ctypes.c_void_p), _SIZE)
    theirs = _Vector(ctypes.cast(_secret, ctypes.c_void_p), _SIZE)
    return ctypes.byref(mine), 1, ctypes.byref(theirs), 1, 0


def _read_memory(service: int) -> None:
    data = ctypes.create_string_buffer(_SIZE)
    _checked(_libc.process_vm_readv(service, *_vectors(data)))
    assert data.raw == _AFTER


def _write_memory(service: int) -> None:
    _checked(_libc.process_vm_writev(service, *_vectors(ctypes.create_string_buffer(_WRITTEN, _SIZE))))


def _read_memory_file(service: int) -> None:
    with open(f"/proc/{service}/mem", "rb", buffering=0) as memory:
        memory.seek(ctypes.addressof(_secret))
        assert memory.read(_SIZE) == _AFTER


def _trace(service: int) -> None:
    seize = 0x4206
    _checked(_libc.ptrace(seize, service, None, None))


def _take_descriptor(service: int) -> None:
    linux.system_call(_PIDFD_GETFD, os.pidfd_open(service), 0, 0)


def _write_file(service: int) -> None:
    path = f"/tmp/motet-escape-{os.getpid()}"
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    os.unlink(path)


def _connect(service: int) -> None:
    with socket.socket() as connection:
        connection.connect(_listener.getsockname())


def _connect_abstract(service: int) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(_abstract_listener.getsockname())


def _fork(service: int) -> None:
    if (child := os.fork()) == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _start_thread(service: int) -> None:
    try:
        threading.Thread(target=int).start()
    except RuntimeError as error:
        raise OSError(str(error)) from None


def _use_32_bits(service: int) -> None:
    code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\0\0\0\xcd\x80\xc3")  # getpid of the 32-bit system calls: mov eax, 20; int 0x80; ret
    getpid = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
    assert getpid() == os.getpid()


def _create_bpf_map(service: int) -> None:
    array_of_one_word = (ctypes.c_uint32 * 4)(2, 4, 4, 1)
    linux.system_call(_BPF, 0, ctypes.byref(array_of_one_word), 16)


def _raise_limits(service: int) -> None:
    _checked(_libc.prlimit64(0, resource.RLIMIT_AS, (ctypes.c_ulong * 2)(*[2**64 - 1] * 2), None))


ESCAPES: dict[str, Callable[[int], object]] = {
    "read the service's memory": _read_memory,
    "write the service's memory": _write_memory,
    "read the service's memory as a file": _read_memory_file,
    "trace the service": _trace,
    "take a descriptor of the service": _take_descriptor,
    "signal the service": lambda service: os.kill(service, 0),
    "read the limits of the service": lambda service: resource.prlimit(service, resource.RLIMIT_AS),
    "read the environment of the service": lambda service: Path(f"/proc/{service}/environ").read_bytes(),
    "read a file": lambda service: Path("/etc/passwd").read_bytes(),
    "write a file": _write_file,
    "list a folder": lambda service: os.listdir("/"),
    "connect to a TCP port": _connect,
    "connect to an abstract socket": _connect_abstract,
    "start a process": _fork,
    "start a thread": _start_thread,
    "execute a program": lambda service: os.execv("/bin/echo", ["echo", DONE]),
    "raise its limits": _raise_limits,
    "become root": lambda service: os.setresuid(0, 0, 0),
    "create a namespace": lambda service: _checked(_libc.unshare(0x10000000)),
    "mount a file system": lambda service: _checked(_libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)),
    "create an io_uring": lambda service: linux.system_call(_IO_URING_SETUP, 1, (ctypes.c_uint32 * 30)()),
    "use the kernel's keys": lambda service: linux.system_call(_KEYCTL, 0, -3, 1),
    "create a BPF map": _create_bpf_map,
} | ({"make system calls of 32 bits": _use_32_bits} if _IS_X86 else {})
"""An attempt by its name. It takes the service's process id, and raises `OSError` if the kernel refuses it."""


class EscapeService:
    """A process with the role of the service, as root or as another user. With `dumpable`, its user may trace it."""

    def __init__(self, is_root: bool, dumpable: bool = True) -> None:
        arguments = json.dumps({"is_root": is_root, "dumpable": dumpable})
        self._process = subprocess.Popen(
            [sys.executable, "-c", "from tests.media.escapes import main; main()", arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def attempt(self, escape: str, layers: Iterable[Layer]) -> str:
        """Return `DONE`, or the error or the signal that ended an attempt in a child with these layers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"escape": escape, "layers": list(layers)}) + "\n")
        self._process.stdin.flush()
        return str(json.loads(self._process.stdout.readline()))

    def state_of(self, layer: Layer) -> str:
        """Return the state of a layer of a child, see `motet.media.confinement.layers.States`."""
        return self.attempt("", [layer])


def main() -> None:
    """Answer each line of stdin, a name and layers, with the outcome of an attempt in a child."""
    arguments = json.loads(sys.argv[1])
    _listener.bind(("127.0.0.1", 0))
    _listener.listen()
    _abstract_listener.bind(f"\0motet-escape-{os.getpid()}")
    _abstract_listener.listen()
    # Mounts of the attempts stay in this process.
    with suppress(OSError):
        private_mounts = 1 << 18 | 1 << 14
        _checked(_libc.unshare(0x20000))
        _checked(_libc.mount(None, b"/", None, private_mounts, None))
    compiled_filter()
    if os.geteuid() == 0 and not arguments["is_root"]:
        os.setgroups([])
        os.setresgid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED)
        os.setresuid(UNPRIVILEGED, UNPRIVILEGED, UNPRIVILEGED)
    linux.prctl(linux.PR_SET_DUMPABLE, arguments["dumpable"])
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(_outcome(request["escape"], frozenset(map(Layer, request["layers"])))), flush=True)


def _outcome(escape: str, layers: frozenset[Layer]) -> str:
    _secret.raw = _BEFORE
    service = os.getpid()
    start_reading, start_writing = os.pipe()
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:
        os.close(start_writing)
        os.dup2(writing, 1)
        os.read(start_reading, 1)
        _attempt(escape, layers, service)
    os.close(writing)
    _secret.raw = _AFTER  # after the fork, so the child has only the former bytes
    os.write(start_writing, b".")
    with os.fdopen(reading) as output:
        text = output.read().strip()
    _, status = os.waitpid(child, 0)
    for descriptor in (start_reading, start_writing):
        os.close(descriptor)
    if os.WIFSIGNALED(status):
        text = signal.Signals(os.WTERMSIG(status)).name
    assert (_secret.raw == _WRITTEN) == (text == DONE and ESCAPES.get(escape) is _write_memory)
    return text


def _attempt(escape: str, layers: frozenset[Layer], service: int) -> None:
    states = confine(DEFAULT_LIMITS, compiled_filter(), layers)
    try:
        if not escape:
            outcome = "".join(states.values())
        elif any(states.values()):
            outcome = f"a layer is off: {states}"
        else:
            ESCAPES[escape](service)
            outcome = DONE
    except OSError as error:
        outcome = f"refused: {error}"
    except BaseException as error:
        outcome = repr(error)
    os.write(1, outcome.encode())
    os._exit(0)
