"""`motet up --tls`: each service has a certificate with its role, and every connection is encrypted."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import grpc.aio
import pytest
from cryptography import x509

from motet.client.credentials import tls_credentials
from motet.core.errors import RetryableError
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteWorker
from services.up.certificates import DeploymentCertificates
from services.up.deployment import deployment_of
from tests.services.command import eventually, interrupt, motet, started
from tests.services.up.processes import process_of

ROLES = {"encoder": "encoder", "language model": "llm", "image decoder 2": "decoder"}


def value_of(arguments: list[str], option: str) -> Path:
    return Path(arguments[arguments.index(option) + 1])


def test_each_service_has_a_certificate_with_its_role_and_workers_require_one(tmp_path: Path) -> None:
    deployment = deployment_of("", 0, 1, True, 0.0, False, {"image": 2})
    deployment = replace(deployment, certificates=DeploymentCertificates(tmp_path))
    workers = deployment.workers()
    orchestrator = deployment.orchestrator(dict.fromkeys(workers, "127.0.0.1:1"))

    found = {}
    for name, arguments in {**{name: workers[name] for name in ROLES}, "orchestrator": orchestrator}.items():
        certificate = x509.load_pem_x509_certificate(value_of(arguments, "--tls-cert").read_bytes())
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        found[name] = names.get_values_for_type(x509.UniformResourceIdentifier)

    roles = {**ROLES, "orchestrator": "orchestrator"}
    assert found == {name: [f"spiffe://motet.local/motet/{role}"] for name, role in roles.items()}
    assert all(value_of(arguments, "--tls-client-ca") == tmp_path / "ca.pem" for arguments in workers.values())
    assert "--tls-client-ca" not in orchestrator
    assert value_of(orchestrator, "--tls-ca") == tmp_path / "ca.pem"


@pytest.fixture
def up() -> Iterator[subprocess.Popen[str]]:
    # The variable is the caller's. The services do not inherit it.
    with started("up", "--toy", "--tls", "--port", 0, tls_ca="/absent") as process:
        yield process


async def refused(address: str, credentials: grpc.ChannelCredentials) -> bool:
    """Return whether a worker refuses a caller without a certificate."""
    async with open_channel(address, credentials, retries=False) as channel:
        try:
            await RemoteWorker(channel).drain(0)
        except RetryableError:
            return True
    return False


async def test_the_printed_command_answers_also_after_a_restart_and_the_folder_is_removed(
    up: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert up.stdout is not None
    table: dict[str, str] = {}
    for line in iter(up.stdout.readline, ""):
        if line.startswith("motet run"):
            command = shlex.split(line.partition("    ")[0])
            break
        *name, address, _ = line.split() or ["", ""]
        table[" ".join(name)] = address
    authority = value_of(command, "--tls-ca")
    folder = authority.parent

    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(key.stat().st_mode & 0o777 == 0o600 for key in folder.glob("*.key"))
    assert await refused(table["encoder"], tls_credentials(authority))
    arguments = [*command[1:-1], "hello", "--out", tmp_path]
    assert motet(*arguments).returncode == 0
    assert motet("run", "hello", "--server", table["orchestrator"]).returncode == 4

    os.kill(process_of(up.pid, "serve", "decoder", "--modality", "image"), signal.SIGKILL)
    assert eventually(lambda: motet(*arguments).returncode == 0)
    _, errors = interrupt(up)

    assert up.returncode == 0, errors
    assert not folder.exists()
    assert "MOTET_TLS_CA has no effect on motet up" in errors
