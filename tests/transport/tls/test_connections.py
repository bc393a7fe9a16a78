"""Tests of TLS connections: each kind of client at each kind of listener."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping
from datetime import timedelta

import grpc
import pytest

from motet.client import Client
from motet.core.errors import Reason, RetryableError, SettingsError
from motet.core.events import State
from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.toys.workers import ToyDecoder
from motet.transport.access.authentication import Authentication, PeerCertificates
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder
from motet.transport.server import Server
from motet.transport.tls.certificates import PemPair, TlsFiles
from motet.transport.tls.reload import ReloadedCertificates
from services.decoder.servicer import DecoderServicer
from services.orchestrator.servicer import GenerationServicer
from services.up.certificate_authority import CertificateAuthority
from tests.callers import for_anyone
from tests.scripted_motet import ScriptedMotet, done, text_part
from tests.transport.serving import decoded

LISTENERS = {
    "plain text": {"plain text"},
    # A listener without authorities asks for no certificate, so it serves a client with any certificate.
    "TLS": {"TLS", "certificate", "expired", "untrusted certificate"},
    "mutual TLS": {"certificate"},
}
"""The kinds of clients that each kind of listener serves."""

ADVICE = {
    True: "cannot be reached over TLS; check the name in its certificate and the trusted authorities",
    False: "cannot be reached; check that it is running, and if it requires TLS or a client certificate",
}
"""The advice by the side that ends the handshake: True for the client."""

CLIENTS = "plain text", "TLS", "certificate", "expired", "untrusted certificate", "wrong authority"


def listener(kind: str, authority: CertificateAuthority) -> grpc.ServerCredentials | None:
    if kind == "plain text":
        return None
    files = TlsFiles(authority.issue("server"), authority.certificate if kind == "mutual TLS" else None)
    return ReloadedCertificates(files, "client_ca").server_credentials()


def credentials_of(authority: CertificateAuthority, pair: PemPair | None = None) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(),
        pair and pair.key.read_bytes(),
        pair and pair.certificate.read_bytes(),
    )


def clients(
    authority: CertificateAuthority, untrusted: CertificateAuthority
) -> Mapping[str, grpc.ChannelCredentials | None]:
    expired = authority.issue("expired", begins=timedelta(days=-2), ends=timedelta(days=-1))
    return {
        "plain text": None,
        "TLS": credentials_of(authority),
        "certificate": credentials_of(authority, authority.issue("client")),
        "expired": credentials_of(authority, expired),
        "untrusted certificate": credentials_of(authority, untrusted.issue("client")),
        "wrong authority": credentials_of(untrusted, authority.issue("client")),
    }


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("kind", LISTENERS)
async def test_a_listener_serves_exactly_the_clients_that_it_should(
    authority: CertificateAuthority, untrusted: CertificateAuthority, kind: str, client: str
) -> None:
    async with (
        Server([DecoderServicer(ToyDecoder())], credentials=listener(kind, authority)) as server,
        open_channel(server.address, clients(authority, untrusted)[client], retries=False) as channel,
    ):
        if client in LISTENERS[kind]:
            assert isinstance(await decoded(RemoteDecoder(channel)), Media)
        else:
            with pytest.raises(RetryableError) as caught:
                await decoded(RemoteDecoder(channel))
            assert caught.value.reason is Reason.WORKER_UNAVAILABLE
            over_tls = client == "wrong authority" or (kind == "plain text" and client != "plain text")
            assert ADVICE[over_tls] in caught.value.message


async def test_a_server_whose_certificate_has_another_name_is_refused(authority: CertificateAuthority) -> None:
    async with (
        Server(
            [DecoderServicer(ToyDecoder())], address="127.0.0.2:0", credentials=listener("TLS", authority)
        ) as server,
        open_channel(server.address, credentials_of(authority), retries=False) as channel,
    ):
        with pytest.raises(RetryableError, match="cannot be reached over TLS"):
            await decoded(RemoteDecoder(channel))


async def test_a_client_that_is_refused_does_not_disturb_the_others(
    authority: CertificateAuthority, untrusted: CertificateAuthority
) -> None:
    kinds = clients(authority, untrusted)
    async with (
        Server([DecoderServicer(ToyDecoder())], credentials=listener("mutual TLS", authority)) as server,
        open_channel(server.address, kinds["certificate"], retries=False) as good,
    ):
        for client in ("plain text", "expired", "untrusted certificate"):
            async with open_channel(server.address, kinds[client], retries=False) as bad:
                with pytest.raises(RetryableError):
                    await decoded(RemoteDecoder(bad))
            assert isinstance(await decoded(RemoteDecoder(good)), Media)


def resumes(address: str, context: ssl.SSLContext) -> bool:
    """Return whether a second connection resumes the session of a first one to a gRPC server."""
    session, host, port = None, *address.split(":")
    for _ in range(2):
        with (
            socket.create_connection((host, int(port)), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname="localhost", session=session) as connection,
        ):
            # The preface of HTTP/2 and an empty SETTINGS frame. The server's session tickets precede its response.
            connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
            assert connection.recv(9)
            session, resumed = connection.session, bool(connection.session_reused)
    return resumed


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", ["TLS", "mutual TLS"])
async def test_no_session_is_resumed_where_a_certificate_is_required_because_it_may_have_expired(
    authority: CertificateAuthority, kind: str, version: ssl.TLSVersion
) -> None:
    pair = authority.issue("client")
    context = ssl.create_default_context(cafile=authority.certificate)
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(pair.certificate, pair.key)
    context.maximum_version = version
    async with Server([], credentials=listener(kind, authority)) as server:
        assert await asyncio.to_thread(resumes, server.address, context) is (kind == "TLS")


async def test_the_public_client_connects_to_a_server_that_requires_a_certificate(
    authority: CertificateAuthority,
) -> None:
    scripted = ScriptedMotet(*text_part(0, "hello"), done())
    request = GenerationRequest((Message("user", ("hi",)),))
    async with (
        Server([GenerationServicer(for_anyone(scripted))], credentials=listener("mutual TLS", authority)) as server,
        Client(server.address, credentials=credentials_of(authority, authority.issue("client"))) as client,
    ):
        answer = await client.answer(request)

    assert (answer.text, answer.generation.state) == ("hello", State.SUCCEEDED)


async def test_only_an_encrypted_and_authenticated_server_may_have_an_address_on_the_network(
    authority: CertificateAuthority,
) -> None:
    credentials, authenticated = listener("TLS", authority), Authentication([PeerCertificates()])
    with pytest.raises(SettingsError, match="would not be encrypted or authenticated"):
        await Server([], address="0.0.0.0:0").start()
    with pytest.raises(SettingsError, match="would not be authenticated"):
        await Server([], address="0.0.0.0:0", credentials=credentials).start()
    async with Server([], address="0.0.0.0:0", credentials=credentials, authentication=authenticated) as server:
        assert not server.address.endswith(":0")


@pytest.mark.parametrize(("server_name", "served"), [("a.motet.svc", True), ("", False), ("b.motet.svc", False)])
async def test_a_channel_may_require_another_name_than_that_of_its_address(
    authority: CertificateAuthority, server_name: str, served: bool
) -> None:
    pair = authority.issue("server", hosts=["a.motet.svc"])
    credentials = ReloadedCertificates(TlsFiles(pair, None), "client_ca").server_credentials()
    async with (
        Server([DecoderServicer(ToyDecoder())], credentials=credentials) as server,
        open_channel(server.address, credentials_of(authority), retries=False, server_name=server_name) as channel,
    ):
        if served:
            assert isinstance(await decoded(RemoteDecoder(channel)), Media)
        else:
            with pytest.raises(RetryableError, match="check the name in its certificate"):
                await decoded(RemoteDecoder(channel))
