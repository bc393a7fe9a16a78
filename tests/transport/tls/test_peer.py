"""Tests of the identity of a caller with a client certificate."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest

from motet.transport.channel import open_channel
from motet.transport.peer import Peer
from motet.transport.tls.certificates import PemPair, TlsFiles
from services.up.certificate_authority import CertificateAuthority

METHOD = "/test.Peer/Read"


Identity = tuple[Sequence[str], str | None]
"""The identities and the role of a caller."""


@asynccontextmanager
async def served(credentials: grpc.ServerCredentials | None) -> AsyncIterator[tuple[str, list[Identity]]]:
    """Serve a method of gRPC. Yield the address, and the list of the callers of the method."""
    found: list[Identity] = []

    async def read(request: bytes, context: Any) -> bytes:
        peer = Peer(context)
        found.append((peer.identities, peer.role))
        return request

    server = grpc.aio.server()
    handlers = {"Read": grpc.unary_unary_rpc_method_handler(read)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Peer", handlers),))
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    await server.start()
    try:
        yield f"127.0.0.1:{port}", found
    finally:
        await server.stop(None)


async def peer_of(authority: CertificateAuthority, client: PemPair | None) -> tuple[Sequence[str], str | None]:
    """Return the identities and the role that a server finds in the certificate of a client, if it requires one."""
    files = TlsFiles(authority.issue("server"), authority.certificate if client else None)
    configuration = files.parse(files.read())
    assert configuration.key is not None
    assert configuration.chain is not None
    pairs = [(configuration.key, configuration.chain)]
    credentials = grpc.ssl_server_credentials(pairs, configuration.authorities, client is not None)
    own = TlsFiles(client, authority.certificate)
    async with (
        served(credentials) as (address, found),
        open_channel(address, own.parse(own.read()).channel_credentials()) as channel,
    ):
        await channel.unary_unary(METHOD)(b"")
    return found[0]


async def test_the_role_is_the_last_segment_of_the_spiffe_id(authority: CertificateAuthority) -> None:
    identities, role = await peer_of(authority, authority.issue("client", "orchestrator"))

    assert role == "orchestrator"
    assert identities == ("spiffe://motet.local/motet/orchestrator", "localhost")


@pytest.mark.parametrize(
    "uris",
    [
        (),
        ("spiffe://motet.local/motet/orchestrator", "spiffe://motet.local/motet/decoder"),
        ("spiffe://motet.local/motet/orchestrator/more",),
        ("spiffe://motet.local/other/orchestrator",),
        ("https://motet.local/motet/orchestrator",),
        ("spiffe://motet.local/a/motet/orchestrator",),
        ("spiffe://motet.local/motet/",),
    ],
)
async def test_a_certificate_without_exactly_one_spiffe_id_of_motet_has_no_role(
    authority: CertificateAuthority, uris: Sequence[str]
) -> None:
    identities, role = await peer_of(authority, authority.issue("client", uris=uris))

    assert role is None
    assert identities == (*uris, "localhost")


async def test_a_client_without_a_certificate_has_no_identity(authority: CertificateAuthority) -> None:
    assert await peer_of(authority, None) == ((), None)


async def test_a_plain_text_client_has_no_identity() -> None:
    async with served(None) as (address, found), open_channel(address) as channel:
        await channel.unary_unary(METHOD)(b"")

    assert found == [((), None)]
