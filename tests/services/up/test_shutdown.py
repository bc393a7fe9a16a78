"""`motet up` ends within its grace period, and its exit code says whether answers were broken off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.up.deployment import deployment_of
from tests.services.command import TIMEOUT, started, table_of
from tests.services.up.processes import descendants, ended, process_of


@contextmanager
def running_request(up: subprocess.Popen[str], folder: Path) -> Iterator[Iterator[dict[str, Any]]]:
    """Yield the events of a `motet run` whose image takes a thousand steps, from its first step on."""
    address = table_of(up)["orchestrator"][0]
    options = ("--only", "image", "--steps", "image=1000", "--json", "--server", address, "--out", folder)
    with started("run", "hello", *options) as run:
        assert run.stdout is not None
        lines = map(json.loads, iter(run.stdout.readline, ""))
        while next(lines)["event"] != "part_progress":
            pass
        yield lines


def wait_draining(up: subprocess.Popen[str]) -> None:
    """Wait until a deployment drains."""
    assert up.stderr is not None
    while "services finish their running calls" not in (line := up.stderr.readline()):
        assert line


def test_two_sigterms_end_running_answers_with_their_last_event_and_exit_code_1(tmp_path: Path) -> None:
    with started("up", "--toy", "--toy-delay", 0.05, "--port", 0) as up, running_request(up, tmp_path) as lines:
        processes = descendants(up.pid)
        up.terminate()
        wait_draining(up)
        up.terminate()
        *_, last = lines
        up.communicate(timeout=TIMEOUT)

    assert (last["event"], last["state"], last["exit_code"]) == ("done", "PARTIAL", 3)
    assert (up.returncode, ended(processes)) == (1, True)


def test_a_deployment_with_a_frozen_worker_ends_after_its_grace_and_answers_get_their_last_event(
    tmp_path: Path,
) -> None:
    with (
        started("up", "--toy", "--toy-delay", 0.05, "--port", 0, grace="1") as up,
        running_request(up, tmp_path) as lines,
    ):
        processes = descendants(up.pid)
        os.kill(process_of(up.pid, "--modality", "image"), signal.SIGSTOP)
        up.terminate()
        *_, last = lines
        _, errors = up.communicate(timeout=TIMEOUT)

    assert (last["event"], last["state"], last["exit_code"]) == ("done", "PARTIAL", 3)
    assert (up.returncode, ended(processes)) == (1, True)
    assert "motet: image decoder does not stop and is killed" in errors


@pytest.mark.parametrize("grace", [0.5, 60.0])
def test_every_service_gets_the_grace_period_of_the_deployment(grace: float) -> None:
    deployment = deployment_of("", 0, 1, True, 0.0, background=False, grace=grace)
    workers = deployment.workers()
    services = [*workers.values(), deployment.orchestrator(dict.fromkeys(workers, "127.0.0.1:1"))]

    assert len(services) == 3 + len(deployment.manifest.signals)
    assert {service[service.index("--grace") + 1] for service in services} == {str(grace)}
