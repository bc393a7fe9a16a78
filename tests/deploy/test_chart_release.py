"""A release as processes of this machine: their environment, probes and tests are those of the rendered chart."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.ready_line import ReadyLine
from tests.deploy.chart import ci_values, environment, of_kind, pod_spec
from tests.services.command import CLEAN, TIMEOUT, started

VALUES: dict[str, Any] = {
    **ci_values("cpu-nano"),
    "defaults": {"settings": {"toy": True}},
    "orchestrator": {"settings": {"toy": True}},
    "workers": {"audio": None, "video": None},
}


@dataclass(frozen=True)
class Release:
    """The addresses of the running components by their host names in the cluster."""

    addresses: dict[str, str]
    metrics: dict[str, str]

    def here(self, text: str) -> str:
        """Return the text with the addresses of the processes in place of those in the cluster."""
        for host, address in self.addresses.items():
            text = text.replace(f"dns:///{host}:50050", address).replace(f"{host}:50050", address)
        for host, address in self.metrics.items():
            text = text.replace(f"{host}:9464", address)
        return text


@pytest.fixture(scope="module")
def release() -> Iterator[Release]:
    """Start each component with its variables in the chart, except the address that it serves on."""
    found = Release({}, {})
    with ExitStack() as stack:
        for name in sorted(of_kind("Deployment", VALUES), key=lambda name: name == "orchestrator"):
            variables = {key: found.here(value) for key, value in environment(name, VALUES).items()}
            variables |= {"MOTET_LISTEN": "127.0.0.1:0", "MOTET_METRICS": "127.0.0.1:0"}
            settings = {key.removeprefix("MOTET_"): value for key, value in variables.items() if key != "HOME"}
            command = pod_spec(name, VALUES)["containers"][0]["command"]
            process = stack.enter_context(started(*command[1:], **settings))
            assert process.stdout is not None
            line = ReadyLine.read(process.stdout.readline())
            assert line is not None, process.communicate()
            host = f"demo-{name}.ml.svc"
            found.addresses[host], found.metrics[host] = line.address, line.metrics
            found.metrics[f"demo-{name}-pods.ml.svc"] = line.metrics
        yield found


def run_test_pod(name: str, release: Release, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the program of a pod of `helm test` on this machine."""
    container = of_kind("Pod", VALUES)[f"test-{name}"]["spec"]["containers"][0]
    _, option, script = container["command"]
    motet = folder / "motet"
    motet.write_text(f"#!{sys.executable}\nfrom services.cli.app import app\napp()\n")
    motet.chmod(0o755)
    return subprocess.run(
        [
            sys.executable,
            option,
            script.replace("/tmp/out", str(folder / "out")),
            *map(release.here, container["args"]),
        ],
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        env={**CLEAN, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )


@pytest.mark.parametrize("name", ["encoder", "llm", "image", "orchestrator"])
def test_all_probes_of_a_component_succeed(release: Release, name: str) -> None:
    container = pod_spec(name, VALUES)["containers"][0]

    with grpc.insecure_channel(release.addresses[f"demo-{name}.ml.svc"]) as channel:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            request = health_pb2.HealthCheckRequest(service=container[probe]["grpc"]["service"])
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("name", ["image", "orchestrator"])
def test_the_probes_for_tls_ask_a_path_that_the_metrics_serve(release: Release, name: str) -> None:
    tls = pod_spec(name, {"workers": VALUES["workers"]})["containers"][0]

    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        url = f"http://{release.metrics[f'demo-{name}.ml.svc']}{tls[probe]['httpGet']['path']}"
        with urlopen(url, timeout=TIMEOUT) as answer:
            assert answer.read() == b"SERVING\n"


def test_helm_test_finds_every_component_healthy(release: Release, tmp_path: Path) -> None:
    done = run_test_pod("health", release, tmp_path)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("SERVING") == 5  # Four components, and answers with images.


def test_helm_test_gets_a_file_of_each_modality(release: Release, tmp_path: Path) -> None:
    done = run_test_pod("image", release, tmp_path)

    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_helm_test_fails_if_a_component_is_away(release: Release, tmp_path: Path) -> None:
    away = {host: "127.0.0.1:1" if "llm" in host else address for host, address in release.metrics.items()}

    done = run_test_pod("health", Release(release.addresses, away), tmp_path)

    assert done.returncode == 1
    assert "refused" in done.stdout


def test_helm_test_fails_if_the_orchestrator_is_away(release: Release, tmp_path: Path) -> None:
    away = dict.fromkeys(release.addresses, "127.0.0.1:1")

    assert run_test_pod("image", Release(away, release.metrics), tmp_path).returncode != 0


def test_the_orchestrators_decoders_are_those_of_the_values() -> None:
    assert json.loads(environment("orchestrator", VALUES)["MOTET_DECODERS"]).keys() == {"image"}
