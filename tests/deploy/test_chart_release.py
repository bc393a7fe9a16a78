"""A release as processes of this machine: their environment, probes and tests are those of the rendered chart."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.deploy.chart import ci_values, pod_spec
from tests.deploy.release import Release, running
from tests.services.command import TIMEOUT

TOYS: dict[str, Any] = {
    "defaults": {"settings": {"toy": True}},
    "orchestrator": {"settings": {"toy": True}},
    "workers": {"audio": None, "video": None},
}
PLAIN: dict[str, Any] = {**ci_values("cpu-nano"), **TOYS}
PROBES = ("startupProbe", "readinessProbe", "livenessProbe")


@pytest.fixture(scope="module")
def plain() -> Iterator[Release]:
    """Start a release without certificates."""
    with running(PLAIN) as release:
        yield release


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Release]:
    """Start a release with the default values, which need certificates."""
    with running(TOYS, tmp_path_factory.mktemp("release") / "secrets") as release:
        yield release


@pytest.mark.parametrize("name", ["encoder", "llm", "image", "orchestrator"])
def test_all_probes_of_a_component_succeed(plain: Release, name: str) -> None:
    container = pod_spec(name, PLAIN)["containers"][0]

    with grpc.insecure_channel(plain.addresses[f"demo-{name}.ml.svc"]) as channel:
        for probe in PROBES:
            request = health_pb2.HealthCheckRequest(service=container[probe]["grpc"]["service"])
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=TIMEOUT)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("name", ["encoder", "llm", "image", "orchestrator"])
def test_with_tls_the_probes_succeed_without_a_certificate(secure: Release, name: str) -> None:
    # A kubelet does not verify the certificate of a pod.
    kubelet = ssl._create_unverified_context()
    container = pod_spec(name, TOYS)["containers"][0]

    for probe in PROBES:
        url = f"https://{secure.metrics[f'demo-{name}.ml.svc']}{container[probe]['httpGet']['path']}"
        with urlopen(url, timeout=TIMEOUT, context=kubelet) as answer:
            assert answer.read() == b"SERVING\n"


@pytest.mark.parametrize("name", ["encoder", "llm", "image", "orchestrator"])
def test_with_tls_no_component_answers_a_caller_without_a_certificate(secure: Release, name: str) -> None:
    authority = grpc.ssl_channel_credentials(secure.authority)
    address = secure.addresses[f"demo-{name}.ml.svc"]

    with grpc.secure_channel(address, authority) as channel, pytest.raises(grpc.RpcError) as caught:
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT)

    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


@pytest.mark.parametrize("kind", ["plain", "secure"])
def test_helm_test_finds_every_component_healthy(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> None:
    done = request.getfixturevalue(kind).run_test("health", tmp_path)

    assert done.returncode == 0, (done.stdout, done.stderr)
    assert done.stdout.count("SERVING") == 5  # Four components, and answers with images.


@pytest.mark.parametrize("kind", ["plain", "secure"])
def test_helm_test_gets_a_file_of_each_modality(request: pytest.FixtureRequest, kind: str, tmp_path: Path) -> None:
    done = request.getfixturevalue(kind).run_test("image", tmp_path)

    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_helm_test_fails_if_a_component_is_away(plain: Release, tmp_path: Path) -> None:
    away = {host: "127.0.0.1:1" if "llm" in host else address for host, address in plain.metrics.items()}

    done = replace(plain, metrics=away).run_test("health", tmp_path)

    assert done.returncode == 1
    assert "refused" in done.stdout


def test_helm_test_fails_if_the_orchestrator_is_away(plain: Release, tmp_path: Path) -> None:
    away = dict.fromkeys(plain.addresses, "127.0.0.1:1")

    assert replace(plain, addresses=away).run_test("image", tmp_path).returncode != 0
