"""Tests of TLS, with and without client certificates. The certificates are generated."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from motet.client import Client
from motet.core.deadline import Deadline
from motet.core.errors import Reason, RetryableError, SettingsError
from motet.core.events import State
from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.toys.workers import ToyDecoder
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder
from motet.transport.server import Server
from services.decoder.servicer import DecoderServicer
from services.orchestrator.servicer import GenerationServicer
from tests.scripted_motet import ScriptedMotet, done, text_part
from tests.transport.serving import JOB

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="generating certificates needs openssl")


@dataclass(frozen=True)
class Certificates:
    """The certificate of an authority, and a key and a certificate each for a server and a client."""

    authority: bytes
    server: tuple[bytes, bytes]
    client: tuple[bytes, bytes]

    def server_credentials(self, *, mutual: bool = False) -> grpc.ServerCredentials:
        """Return the server's credentials. If `mutual`, the server requires a client certificate."""
        return grpc.ssl_server_credentials([self.server], self.authority if mutual else None, mutual)

    def client_credentials(self, *, mutual: bool = False) -> grpc.ChannelCredentials:
        """Return the client's credentials. If `mutual`, they have the client certificate."""
        return grpc.ssl_channel_credentials(self.authority, *(self.client if mutual else (None, None)))


def generate_certificates(folder: Path) -> Certificates:
    """Generate an authority and its certificates in a folder."""

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def key(name: str) -> Sequence[str]:
        return "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key"

    openssl("req", "-x509", *key("authority"), "-subj", "/CN=authority", "-days", "2", "-out", "authority.pem")
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl("req", *key(name), "-subj", f"/CN={name}", "-out", f"{name}.csr")
        signer = ("-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial", "-days", "2")
        openssl("x509", "-req", "-in", f"{name}.csr", *signer, "-extfile", "names", "-out", f"{name}.pem")

    def pair(name: str) -> tuple[bytes, bytes]:
        return (folder / f"{name}.key").read_bytes(), (folder / f"{name}.pem").read_bytes()

    return Certificates((folder / "authority.pem").read_bytes(), pair("server"), pair("client"))


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return generate_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def untrusted(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of an authority that the other certificates' owners do not trust."""
    return generate_certificates(tmp_path_factory.mktemp("untrusted"))


async def last_event(address: str, credentials: grpc.ChannelCredentials | None) -> object:
    """Return the last event of a job of the decoder at an address."""
    async with open_channel(address, credentials, health="") as channel:
        return [event async for event in RemoteDecoder(channel).decode(JOB, Deadline.after(30))][-1]


def decoder_server(certificates: Certificates, *, mutual: bool = False) -> Server:
    return Server([DecoderServicer(ToyDecoder())], credentials=certificates.server_credentials(mutual=mutual))


async def test_a_call_over_an_encrypted_connection_succeeds(certificates: Certificates) -> None:
    async with decoder_server(certificates) as server:
        assert isinstance(await last_event(server.address, certificates.client_credentials()), Media)


async def test_a_client_with_a_certificate_is_served_if_the_server_requires_it(certificates: Certificates) -> None:
    async with decoder_server(certificates, mutual=True) as server:
        assert isinstance(await last_event(server.address, certificates.client_credentials(mutual=True)), Media)


@pytest.mark.parametrize("client", ["plain text", "no certificate", "untrusted certificate"])
async def test_a_client_without_a_trusted_certificate_is_refused_if_the_server_requires_it(
    certificates: Certificates, untrusted: Certificates, client: str
) -> None:
    credentials = {
        "plain text": None,
        "no certificate": certificates.client_credentials(),
        "untrusted certificate": grpc.ssl_channel_credentials(certificates.authority, *untrusted.client),
    }[client]
    async with decoder_server(certificates, mutual=True) as server:
        with pytest.raises(RetryableError) as caught:
            await last_event(server.address, credentials)

    assert caught.value.reason is Reason.WORKER_UNAVAILABLE


async def test_the_client_refuses_an_untrusted_server(certificates: Certificates, untrusted: Certificates) -> None:
    async with decoder_server(untrusted) as server:
        with pytest.raises(RetryableError) as caught:
            await last_event(server.address, certificates.client_credentials())

    assert caught.value.reason is Reason.WORKER_UNAVAILABLE


async def test_the_public_client_connects_to_a_server_that_requires_a_certificate(certificates: Certificates) -> None:
    scripted = ScriptedMotet(*text_part(0, "hello"), done())
    request = GenerationRequest((Message("user", ("hi",)),))
    async with (
        Server([GenerationServicer(scripted)], credentials=certificates.server_credentials(mutual=True)) as server,
        Client(server.address, credentials=certificates.client_credentials(mutual=True)) as client,
    ):
        answer = await client.answer(request)

    assert (answer.text, answer.generation.state) == ("hello", State.SUCCEEDED)


async def test_a_server_with_credentials_may_have_an_address_on_the_network(certificates: Certificates) -> None:
    with pytest.raises(SettingsError):
        await Server([], address="0.0.0.0:0").start()
    async with Server([], address="0.0.0.0:0", credentials=certificates.server_credentials()) as server:
        assert not server.address.endswith(":0")
