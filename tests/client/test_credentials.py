"""Tests of the client's credentials: TLS from files, an API key, and any metadata."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from motet.client import Client, SyncClient
from motet.client.credentials import optional_tls_credentials, tls_credentials
from motet.core.errors import SettingsError
from motet.transport.server import Server
from motet.transport.tls.certificates import TlsFiles
from motet.transport.tls.reload import ReloadedCertificates
from motet.v1 import model_service_pb2 as pb
from motet.v1 import model_service_pb2_grpc as pb_grpc
from services.up.certificate_authority import CertificateAuthority

KEY = "motet-secret-0123456789"


class ModelServicer(pb_grpc.ModelServiceServicer):
    """A servicer without models that records the metadata of each call."""

    name = "motet.v1.ModelService"

    def __init__(self) -> None:
        self.metadata: list[dict[str, Any]] = []

    def add_to(self, server: grpc.aio.Server) -> None:
        pb_grpc.add_ModelServiceServicer_to_server(self, server)

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:
        self.metadata.append(dict(context.invocation_metadata()))
        return pb.ListModelsResponse()


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MOTET_API_KEY", "MOTET_TLS_CA", "MOTET_TLS_CERT", "MOTET_TLS_KEY"):
        monkeypatch.delenv(name, raising=False)


@asynccontextmanager
async def served(authority: CertificateAuthority | None = None) -> AsyncIterator[tuple[str, ModelServicer]]:
    """Serve over mutual TLS, or over plain text without an authority. Yield the address and the servicer."""
    servicer, credentials = ModelServicer(), None
    if authority is not None:
        files = TlsFiles(authority.issue("server"), authority.certificate)
        credentials = ReloadedCertificates(files, "client_ca").server_credentials()
    async with Server([servicer], credentials=credentials) as server:
        yield server.address, servicer


async def test_a_key_and_metadata_are_sent_with_every_call() -> None:
    async with served() as (address, servicer), Client(address, api_key=KEY, metadata={"x-team": "blue"}) as client:
        await client.models()

    assert servicer.metadata[0]["authorization"] == f"Bearer {KEY}"
    assert servicer.metadata[0]["x-team"] == "blue"


async def test_the_environment_has_the_key_and_the_files_of_certificates(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue("client")
    monkeypatch.setenv("MOTET_API_KEY", KEY)
    monkeypatch.setenv("MOTET_TLS_CA", str(authority.certificate))
    monkeypatch.setenv("MOTET_TLS_CERT", str(pair.certificate))
    monkeypatch.setenv("MOTET_TLS_KEY", str(pair.key))
    async with served(authority) as (address, servicer), Client(address) as client:
        await client.models()

    assert servicer.metadata[0]["authorization"] == f"Bearer {KEY}"


async def test_an_authorization_in_the_metadata_replaces_the_key_of_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MOTET_API_KEY", KEY)
    async with served() as (address, servicer), Client(address, metadata={"authorization": "Basic x"}) as client:
        await client.models()

    assert servicer.metadata[0]["authorization"] == "Basic x"


async def test_a_key_and_an_authorization_in_the_metadata_are_refused() -> None:
    with pytest.raises(SettingsError, match="remove one of them"):
        Client("localhost:1", api_key=KEY, metadata={"authorization": "Basic x"})


@pytest.mark.parametrize(
    "address", ["example.test:443", "10.0.0.1:1", "dns:///example.test:1", "ipv4:127.0.0.1:1,10.0.0.1:1"]
)
async def test_a_key_is_not_sent_to_another_machine_without_encryption(address: str) -> None:
    with pytest.raises(SettingsError, match="without encryption: use TLS credentials, or set allow_insecure") as caught:
        Client(address, api_key=KEY)

    assert KEY not in f"{caught.value!r} {caught.value} {caught.value.metadata}"
    async with Client(address, api_key=KEY, credentials=grpc.ssl_channel_credentials()):
        pass
    async with Client(address, api_key=KEY, allow_insecure=True):
        pass


@pytest.mark.parametrize("address", ["localhost:1", "127.0.0.1:1", "[::1]:1", "dns:///localhost:1", "unix:/tmp/x"])
async def test_a_key_is_sent_to_this_machine_without_encryption(address: str) -> None:
    async with Client(address, api_key=KEY):
        pass


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY} x", f"{KEY}é", f"{KEY}\x00"])
async def test_a_key_that_metadata_cannot_hold_is_refused_without_showing_it(key: str) -> None:
    with pytest.raises(SettingsError, match="the API key cannot be sent") as caught:
        Client("localhost:1", api_key=key)

    assert KEY not in f"{caught.value!r} {caught.value}"


async def test_no_representation_and_no_error_has_the_key() -> None:
    client = Client("localhost:1", api_key=KEY, timeout=5)
    with pytest.raises(Exception, match="localhost:1") as caught:
        await client.models()
    await client.close()

    assert KEY not in f"{client!r} {client._connection!r} {caught.value!r} {caught.value.__dict__}"


def test_the_blocking_client_takes_the_same_credentials() -> None:
    with pytest.raises(SettingsError, match="without encryption"):
        SyncClient("example.test:1", api_key=KEY)
    SyncClient("example.test:1", api_key=KEY, allow_insecure=True).close()


def test_files_that_cannot_be_used_are_refused_with_their_names(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    pair, other, wrong = authority.issue("client"), authority.issue("other"), tmp_path / "wrong"
    wrong.write_bytes(b"\xff no PEM")

    with pytest.raises(SettingsError, match="absent cannot be read: No such file"):
        tls_credentials(tmp_path / "absent")
    with pytest.raises(SettingsError, match="wrong has no certificate in PEM"):
        tls_credentials(wrong)
    with pytest.raises(SettingsError, match="client.pem and .*other.key are not a certificate and its key"):
        tls_credentials(authority.certificate, pair.certificate, other.key)
    with pytest.raises(SettingsError, match="needs a certificate and its key"):
        tls_credentials(authority.certificate, pair.certificate)
    with pytest.raises(SettingsError, match="set --tls-ca or MOTET_TLS_CA, too"):
        optional_tls_credentials(None, pair.certificate, pair.key)
    assert optional_tls_credentials(None, None, None) is None
