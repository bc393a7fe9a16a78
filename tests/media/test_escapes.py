"""A decoding child that hostile bytes took over cannot leave its confinement. Each test tries one way out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from motet.media.confinement.layers import Layer
from tests.media.escapes import DONE, ESCAPES, EscapeService

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the layers need Linux")

CHILD_LAYERS = [layer for layer in Layer if layer is not Layer.NONDUMPABLE]
# seccomp and Landlock refuse a process that may still get privileges.
LANDLOCK = [Layer.PRIVILEGES, Layer.LANDLOCK]
SECCOMP = [Layer.PRIVILEGES, Layer.SECCOMP]

MEMORY = ["read the service's memory", "write the service's memory", "read the service's memory as a file"]
TRACING = [*MEMORY, "trace the service", "take a descriptor of the service", "read the environment of the service"]
FILES = ["read a file", "write a file", "list a folder"]
# Kernels and containers may refuse these to every process.
OPTIONAL = ["create a namespace", "mount a file system", "create an io_uring", "use the kernel's keys"]
OPTIONAL += ["create a BPF map", "make system calls of 32 bits"]
ROOT_ONLY = ["become root", "mount a file system", "create a BPF map"]
YAMA = Path("/proc/sys/kernel/yama/ptrace_scope")


@pytest.fixture(scope="module")
def root_service() -> Iterator[EscapeService]:
    if os.geteuid() != 0:
        pytest.skip("a service of root needs root")
    with EscapeService(is_root=True) as service:
        yield service


@pytest.fixture(scope="module")
def user_service() -> Iterator[EscapeService]:
    with EscapeService(is_root=False) as service:
        yield service


@pytest.fixture(scope="module")
def nondumpable_service() -> Iterator[EscapeService]:
    with EscapeService(is_root=False, dumpable=False) as service:
        yield service


def expect_refused(service: EscapeService, escape: str, layers: Sequence[Layer]) -> None:
    """Fail unless the kernel refuses an attempt with an error, or ends it."""
    outcome = service.attempt(escape, layers)
    assert outcome == "SIGSYS" or outcome.startswith("refused: "), outcome


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_confined_child_of_root_cannot(escape: str, root_service: EscapeService) -> None:
    expect_refused(root_service, escape, CHILD_LAYERS)


@pytest.mark.parametrize("escape", ESCAPES)
def test_a_confined_child_of_another_user_cannot(escape: str, user_service: EscapeService) -> None:
    expect_refused(user_service, escape, [layer for layer in CHILD_LAYERS if layer is not Layer.USER])


@pytest.mark.parametrize("escape", ESCAPES)
def test_without_layers_a_child_of_root_can(escape: str, root_service: EscapeService) -> None:
    expect_done(root_service, escape)


@pytest.mark.parametrize("escape", [escape for escape in ESCAPES if escape not in ROOT_ONLY])
def test_without_layers_a_child_of_another_user_can(escape: str, user_service: EscapeService) -> None:
    if escape in TRACING and YAMA.exists() and YAMA.read_text().strip() != "0":
        pytest.skip("Yama refuses tracing to all users except root")
    expect_done(user_service, escape)


def expect_done(service: EscapeService, escape: str) -> None:
    """Fail unless an attempt without layers succeeds, where this machine allows it to any process."""
    outcome = service.attempt(escape, [])
    if outcome != DONE and escape in OPTIONAL:
        pytest.skip(f"this machine refuses it to every process: {outcome}")
    assert outcome == DONE


@pytest.mark.parametrize("escape", ESCAPES)
def test_the_filter_alone_refuses_all_but_its_own_limits(escape: str, root_service: EscapeService) -> None:
    if escape == "raise its limits":
        # Without the layer of limits, the limit is infinite already.
        assert root_service.attempt(escape, SECCOMP) == DONE
    else:
        expect_refused(root_service, escape, SECCOMP)


@pytest.mark.parametrize("escape", [*TRACING, *FILES, "signal the service", "connect to an abstract socket"])
def test_landlock_alone_refuses_processes_and_files(escape: str, user_service: EscapeService) -> None:
    expect_refused(user_service, escape, LANDLOCK)


def test_landlock_alone_refuses_tcp(user_service: EscapeService) -> None:
    expect_refused(user_service, "connect to a TCP port", LANDLOCK)


@pytest.mark.parametrize("escape", [*TRACING, "signal the service", "read the limits of the service", "become root"])
def test_another_user_alone_cannot_touch_the_service(escape: str, root_service: EscapeService) -> None:
    expect_refused(root_service, escape, [Layer.USER])


@pytest.mark.parametrize("escape", TRACING)
def test_a_nondumpable_service_alone_cannot_be_read_by_its_user(
    escape: str, nondumpable_service: EscapeService
) -> None:
    expect_refused(nondumpable_service, escape, [])


@pytest.mark.parametrize("escape", [*FILES, "connect to a TCP port", "start a process", "start a thread"])
def test_limits_alone_refuse_descriptors_and_processes(escape: str, user_service: EscapeService) -> None:
    expect_refused(user_service, escape, [Layer.LIMITS])


def test_a_service_without_root_states_why_its_children_have_its_user(user_service: EscapeService) -> None:
    assert user_service.state_of(Layer.USER).startswith("the service does not run as root")


@pytest.mark.parametrize("escape", [*MEMORY, "trace the service", "execute a program"])
def test_the_layers_without_the_filter_still_refuse(escape: str, user_service: EscapeService) -> None:
    expect_refused(user_service, escape, [Layer.PRIVILEGES, Layer.LANDLOCK, Layer.LIMITS])
