"""The layers of a child's confinement, and the function that puts a child behind them."""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from enum import StrEnum

from motet.media.confinement import credentials, landlock, seccomp
from motet.media.limits import MediaLimits


class Layer(StrEnum):
    """A layer of the confinement. Each one alone refuses some of the ways out of a child."""

    USER = "user"
    """The child has a user of its own, so it may not touch the files and processes of the service's user."""
    PRIVILEGES = "privileges"
    """The child has no capability, and no program that it could execute gives it one."""
    LANDLOCK = "landlock"
    """The child opens no file, uses no TCP port, traces no process and signals no process."""
    LIMITS = "limits"
    """The child gets no new descriptor, no new process and no core file, and has limited memory and processor time."""
    SECCOMP = "seccomp"
    """The child makes only the system calls that decoding needs."""
    NONDUMPABLE = "nondumpable"
    """No process of the service's user reads or traces the service. This layer belongs to the service."""


States = Mapping[Layer, str]
"""The reason why each layer is off, or "" if it is on."""


def confine(limits: MediaLimits, system_call_filter: bytes, layers: frozenset[Layer] = frozenset(Layer)) -> States:
    """Put this process behind the layers in `layers`, as far as the kernel has them, and return their states.

    Call it after all imports, and before the process reads bytes from outside. `system_call_filter` is from
    `motet.media.confinement.system_calls`. Raises the error of the limits, which every system has.
    """
    # The order matters: another user loses the capabilities, Landlock needs a descriptor, and the last filter refuses
    # the system calls that the other layers need.
    steps: Mapping[Layer, Callable[[], None]] = {
        Layer.USER: credentials.change_user,
        Layer.PRIVILEGES: credentials.drop_privileges,
        Layer.LANDLOCK: landlock.restrict,
        Layer.LIMITS: lambda: _limit_resources(limits),
        Layer.SECCOMP: lambda: seccomp.install(system_call_filter),
    }
    return {layer: _state(layer, step) for layer, step in steps.items() if layer in layers}


def _state(layer: Layer, step: Callable[[], None]) -> str:
    try:
        step()
    except OSError as error:
        if layer is Layer.LIMITS:
            raise
        return error.strerror or str(error)
    return ""


def _limit_resources(limits: MediaLimits) -> None:
    """Limit the resources of this process. It cannot raise the limits again."""
    for name, value in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_CPU, limits.cpu_seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        # No new descriptor: no file, no socket, no pipe. The three standard descriptors are open already.
        (resource.RLIMIT_NOFILE, 0),
    ):
        resource.setrlimit(name, (value, value))
