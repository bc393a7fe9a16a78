"""Tests of the metrics over TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress

import pytest
from cryptography import x509

from motet.core.errors import SettingsError
from motet.core.telemetry.service_kind import ServiceKind
from motet.transport.metrics_server import MAX_CONNECTIONS, MetricsServer
from motet.transport.tls.certificates import PemPair, TlsFiles
from motet.transport.tls.https import HttpsContext
from motet.transport.tls.reload import ReloadedCertificates
from services.up.certificate_authority import CertificateAuthority
from tests.waiting import until


@asynccontextmanager
async def served(
    authority: CertificateAuthority, mutual: bool = False, address: str = "127.0.0.1:0", timeout: float = 30.0
) -> AsyncIterator[MetricsServer]:
    files = TlsFiles(authority.issue("server"), authority.certificate)
    async with (
        ReloadedCertificates(files, "client_ca", 0.01) as certificates,
        MetricsServer(
            address, ServiceKind.ORCHESTRATOR, timeout=timeout, https=HttpsContext(certificates, mutual)
        ) as server,
    ):
        yield server


def context_of(authority: CertificateAuthority, pair: PemPair | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.certificate)
    if pair is not None:
        context.load_cert_chain(pair.certificate, pair.key)
    return context


async def get(address: str, context: ssl.SSLContext | None) -> tuple[bytes, int | None]:
    """Return the response to a request for the metrics, and the serial number of the server's certificate."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port), ssl=context)
    try:
        secure = writer.get_extra_info("ssl_object")
        certificate = secure and x509.load_der_x509_certificate(secure.getpeercert(binary_form=True))
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: test\r\n\r\n")
        async with asyncio.timeout(90):
            return await reader.read(), certificate and certificate.serial_number
    finally:
        writer.transport.abort()


async def test_metrics_are_read_over_tls_with_the_expiry_of_the_certificates(authority: CertificateAuthority) -> None:
    async with served(authority) as server:
        response, _ = await get(server.address, context_of(authority))

    assert response.startswith(b"HTTP/1.1 200 OK")
    assert b'motet_tls_certificate_expiry_timestamp_seconds{file="cert"}' in response
    assert b'motet_tls_certificate_expiry_timestamp_seconds{file="client_ca"}' in response


async def test_many_connections_at_once_lose_no_byte_of_the_handshake(authority: CertificateAuthority) -> None:
    async with served(authority) as server:
        context = context_of(authority)
        responses = await asyncio.gather(*(get(server.address, context) for _ in range(MAX_CONNECTIONS)))

    assert all(response.startswith(b"HTTP/1.1 200 OK") for response, _ in responses)


async def test_plain_text_gets_no_response_over_tls(authority: CertificateAuthority) -> None:
    async with served(authority) as server:
        response, _ = await get(server.address, None)

    assert not response.startswith(b"HTTP")


async def test_mutual_tls_serves_only_scrapers_with_a_certificate(
    authority: CertificateAuthority, untrusted: CertificateAuthority
) -> None:
    async with served(authority, mutual=True) as server:
        response, _ = await get(server.address, context_of(authority, authority.issue("scraper")))
        assert response.startswith(b"HTTP/1.1 200 OK")
        for pair in (None, untrusted.issue("scraper")):
            # With TLS 1.3, the client's handshake ends before the server has checked the certificate.
            with suppress(ssl.SSLError, ConnectionError):
                response, _ = await get(server.address, context_of(authority, pair))
                assert response == b""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_mutual_tls_gives_no_session_tickets(authority: CertificateAuthority, version: ssl.TLSVersion) -> None:
    context = context_of(authority, authority.issue("scraper"))
    context.maximum_version = version

    def has_ticket(address: str) -> bool:
        host, port = address.split(":")
        with (
            socket.create_connection((host, int(port)), timeout=30) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
            assert connection.recv(9) == b"HTTP/1.1 "
            return connection.session is not None and connection.session.has_ticket

    async with served(authority, mutual=True) as server:
        assert not await asyncio.to_thread(has_ticket, server.address)
    async with served(authority) as server:
        assert await asyncio.to_thread(has_ticket, server.address)


async def test_a_new_connection_gets_the_new_certificate(authority: CertificateAuthority) -> None:
    async with served(authority) as server:
        context = context_of(authority)
        _, first = await get(server.address, context)
        authority.issue("server")
        pair = TlsFiles(None, authority.certificate.parent / "server.pem").read()[2]
        second = x509.load_pem_x509_certificate(pair).serial_number
        found = [first]

        async def look() -> None:
            while found[-1] != second:
                found.append((await get(server.address, context))[1])

        async with asyncio.timeout(90):
            await look()

    assert set(found) == {first, second}


async def test_a_connection_that_never_starts_its_handshake_is_closed(authority: CertificateAuthority) -> None:
    async with served(authority, timeout=0.05) as server, AsyncExitStack() as stack:
        host, _, port = server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        stack.callback(writer.close)
        async with asyncio.timeout(90):
            assert await reader.read() == b""
        await until(lambda: not server._connections)


async def test_only_mutual_tls_may_serve_metrics_on_the_network(authority: CertificateAuthority) -> None:
    with pytest.raises(SettingsError, match="would not be authenticated: set --metrics-tls mutual, listen at"):
        async with served(authority, address="0.0.0.0:0"):
            pass
    async with served(authority, mutual=True, address="0.0.0.0:0") as server:
        assert not server.address.endswith(":0")
