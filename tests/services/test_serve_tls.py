"""Tests of `motet serve` with TLS: settings, listeners and channels."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from motet.core.errors import SettingsError
from motet.core.telemetry.service_kind import ServiceKind
from motet.toys.manifest import TOY
from motet.toys.workers import ToyDecoder, ToyEncoder, ToyLanguageModel
from motet.transport.access.api_key import key_id_of
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.tls.certificates import TlsFiles
from motet.transport.tls.reload import ReloadedCertificates
from services.cli.keys.commands import app as keys_app
from services.cli.models import app as models_app
from services.decoder.settings import DecoderSettings
from services.exit_codes import Exit
from services.orchestrator.service import orchestrator_service
from services.orchestrator.settings import OrchestratorServiceSettings
from services.ready_line import ReadyLine
from services.serve import ReadyService, Service, serve
from services.settings import ServiceSettings, settings_of
from services.up.certificate_authority import CertificateAuthority
from tests.services.command import eventually, started
from tests.transport.serving import served
from tests.waiting import until


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path)


@asynccontextmanager
async def opened() -> AsyncIterator[ReadyService]:
    yield ReadyService([])


def service(settings: ServiceSettings, listen: str) -> Service:
    return Service(ServiceKind.DECODER, "image decoder", listen, settings, ConcurrencyLimiter(), opened)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tls_cert": "a"}, "--tls-cert needs --tls-key: set it, too"),
        ({"tls_key": "a"}, "--tls-key needs --tls-cert: set it, too"),
        ({"tls_client_ca": "a"}, "--tls-client-ca needs --tls-cert: set it, too"),
        ({"metrics_tls": "server"}, "--metrics-tls needs --tls-cert: set it, too"),
        ({"metrics_tls": "mutual", "tls_cert": "a", "tls_key": "b"}, "--metrics-tls needs --tls-client-ca"),
    ],
)
def test_an_option_without_the_option_that_it_needs_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        settings_of(DecoderSettings, {"modality": "image", **options})


def test_a_certificate_for_workers_needs_its_key_and_their_authorities() -> None:
    with pytest.raises(SettingsError, match="--tls-worker-cert needs --tls-worker-key"):
        settings_of(OrchestratorServiceSettings, {"tls_worker_cert": "a", "tls_ca": "b"})
    with pytest.raises(SettingsError, match="--tls-worker-cert needs --tls-ca"):
        settings_of(OrchestratorServiceSettings, {"tls_worker_cert": "a", "tls_worker_key": "b"})


async def test_a_service_with_mutual_tls_may_be_reached_from_the_network(
    authority: CertificateAuthority, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = authority.issue("decoder")
    settings = ServiceSettings(
        log_level="error",
        tls_cert=pair.certificate,
        tls_key=pair.key,
        tls_client_ca=authority.certificate,
        metrics="0.0.0.0:0",
        metrics_tls="mutual",
    )
    serving = asyncio.create_task(serve(service(settings, "0.0.0.0:0")))
    lines: list[str] = []
    await until(lambda: bool(lines.append(capsys.readouterr().out) or "".join(lines)))
    os.kill(os.getpid(), signal.SIGTERM)
    await serving

    ready_line = ReadyLine.read("".join(lines))
    assert ready_line is not None
    assert ready_line.address.startswith("0.0.0.0:")


async def test_the_network_needs_the_authentication_of_callers_besides_tls(authority: CertificateAuthority) -> None:
    pair = authority.issue("decoder")
    settings = ServiceSettings(log_level="error", tls_cert=pair.certificate, tls_key=pair.key)

    with pytest.raises(SettingsError, match="calls would not be authenticated: set --tls-cert, --tls-key and"):
        await serve(service(settings, "0.0.0.0:0"))


async def test_metrics_on_the_network_without_a_certificate_of_the_scraper_need_a_setting_of_their_own(
    authority: CertificateAuthority, capsys: pytest.CaptureFixture[str]
) -> None:
    pair = authority.issue("decoder")
    files: dict[str, Any] = {"tls_cert": pair.certificate, "tls_key": pair.key, "tls_client_ca": authority.certificate}
    settings = ServiceSettings(log_level="error", metrics="0.0.0.0:0", metrics_tls="server", **files)
    with pytest.raises(SettingsError, match="set --metrics-tls mutual, listen at 127.0.0.1, or set --allow-insecure-m"):
        await serve(service(settings, "0.0.0.0:0"))

    settings = settings.model_copy(update={"allow_insecure_metrics": True})
    serving = asyncio.create_task(serve(service(settings, "0.0.0.0:0")))
    lines: list[str] = []
    await until(lambda: bool(lines.append(capsys.readouterr().out) or "".join(lines)))
    os.kill(os.getpid(), signal.SIGTERM)
    await serving

    ready_line = ReadyLine.read("".join(lines))
    assert ready_line is not None
    assert ready_line.metrics.startswith("0.0.0.0:")


@pytest.mark.parametrize("tls", [False, True])
async def test_the_setting_for_metrics_exempts_no_calls(authority: CertificateAuthority, tls: bool) -> None:
    pair = authority.issue("decoder")
    files: dict[str, Any] = {"tls_cert": pair.certificate, "tls_key": pair.key} if tls else {}
    settings = ServiceSettings(log_level="error", metrics="0.0.0.0:0", allow_insecure_metrics=True, **files)

    with pytest.raises(SettingsError, match="calls would not be .*, or set --allow-insecure$"):
        await serve(service(settings, "0.0.0.0:0"))


async def test_the_orchestrator_may_also_authenticate_callers_by_keys(authority: CertificateAuthority) -> None:
    pair = authority.issue("orchestrator")
    options = {"toy": True, "listen": "0.0.0.0:0", "tls_cert": pair.certificate, "tls_key": pair.key}

    with pytest.raises(SettingsError, match="set --tls-cert, --tls-key and --keys or --tls-client-ca, listen at"):
        await serve(orchestrator_service(options))


async def test_an_expired_certificate_is_refused_before_loading(authority: CertificateAuthority) -> None:
    pair = authority.issue("decoder", begins=timedelta(days=-2), ends=timedelta(days=-1))
    settings = ServiceSettings(log_level="error", tls_cert=pair.certificate, tls_key=pair.key)

    with pytest.raises(SettingsError, match="expired at"):
        await serve(service(settings, "127.0.0.1:0"))


@pytest.mark.parametrize(
    ("certificate", "tls", "reached"),
    [("trusted", True, True), ("untrusted", True, False), ("none", True, False), ("none", False, False)],
)
async def test_the_orchestrator_reaches_workers_only_over_tls_with_a_certificate_that_they_trust(
    authority: CertificateAuthority, tmp_path: Path, certificate: str, tls: bool, reached: bool
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    pairs = {
        "trusted": authority.issue("orchestrator", "orchestrator"),
        "untrusted": CertificateAuthority(other).issue("orchestrator", "orchestrator"),
    }
    files = TlsFiles(authority.issue("workers"), authority.certificate)
    credentials = ReloadedCertificates(files, "client_ca").server_credentials()
    workers = ToyEncoder(), ToyLanguageModel(TOY.grammar), ToyDecoder()
    async with served(*workers, credentials=credentials) as (server, _):
        options: dict[str, Any] = {"toy": True, "encoder": server.address, "language_model": server.address}
        options["decoders"] = [f"{modality}={server.address}" for modality in TOY.signals]
        if tls:
            options["tls_ca"] = authority.certificate
        if pair := pairs.get(certificate):
            options |= {"tls_worker_cert": pair.certificate, "tls_worker_key": pair.key}
        async with orchestrator_service(options).open() as ready:
            assert ready.readiness()[""] is reached


def test_a_key_of_the_command_line_opens_a_service_with_tls_until_it_is_revoked(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    def run(app: typer.Typer, *arguments: object) -> Result:
        return CliRunner().invoke(app, list(map(str, arguments)))

    records, key_file, pair = tmp_path / "keys.jsonl", tmp_path / "key", authority.issue("orchestrator")
    created = run(keys_app, "create", "--tenant", "acme", "--file", records)
    key_file.write_text(created.stdout)
    key_file.chmod(0o600)
    options = ("--keys", records, "--tls-cert", pair.certificate, "--tls-key", pair.key)
    with started("serve", "orchestrator", "--toy", "--listen", "127.0.0.1:0", *options) as process:
        assert process.stdout is not None
        ready = ReadyLine.read(process.stdout.readline())
        assert ready is not None
        encrypted = ("--server", ready.address, "--tls-ca", authority.certificate)
        with_key = (*encrypted, "--key-file", key_file)

        accepted, without_key = run(models_app, *with_key), run(models_app, *encrypted)
        plain = run(models_app, "--server", ready.address)
        run(keys_app, "revoke", key_id_of(created.stdout.strip()) or "", "--file", records)
        assert eventually(lambda: run(models_app, *with_key).exit_code == Exit.REFUSED)

    assert (accepted.exit_code, without_key.exit_code, plain.exit_code) == (Exit.OK, Exit.REFUSED, Exit.UNAVAILABLE)
    assert accepted.stdout.startswith("toy: ")
    assert "CREDENTIALS_MISSING" in without_key.stderr
