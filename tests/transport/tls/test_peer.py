"""Tests of the identity of a caller with a client certificate."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
import grpc.aio
import pytest

from motet.transport.channel import open_channel
from motet.transport.peer import peer_identities, peer_role
from motet.transport.server import Server
from motet.transport.tls.certificates import PemPair, TlsFiles
from services.up.certificate_authority import CertificateAuthority

METHOD = "/test.Peer/Read"


class PeerServicer:
    """A servicer that records the identities and the role of each caller."""

    name = "test.Peer"

    def __init__(self) -> None:
        self.found: list[tuple[Sequence[str], str | None]] = []

    def add_to(self, server: grpc.aio.Server) -> None:
        handlers = {"Read": grpc.unary_unary_rpc_method_handler(self.read)}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(self.name, handlers),))

    async def read(self, request: bytes, context: Any) -> bytes:
        self.found.append((peer_identities(context), peer_role(context)))
        return request


async def peer_of(authority: CertificateAuthority, client: PemPair | None) -> tuple[Sequence[str], str | None]:
    """Return the identities and the role that a server finds in the certificate of a client, if it requires one."""
    files = TlsFiles(authority.issue("server"), authority.certificate if client else None)
    configuration = files.parse(files.read())
    assert configuration.key is not None
    assert configuration.chain is not None
    pairs = [(configuration.key, configuration.chain)]
    credentials = grpc.ssl_server_credentials(pairs, configuration.authorities, client is not None)
    servicer, own = PeerServicer(), TlsFiles(client, authority.certificate)
    async with (
        Server([servicer], credentials=credentials) as server,
        open_channel(server.address, own.parse(own.read()).channel_credentials()) as channel,
    ):
        await channel.unary_unary(METHOD)(b"")
    return servicer.found[0]


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
    servicer = PeerServicer()
    async with Server([servicer]) as server, open_channel(server.address) as channel:
        await channel.unary_unary(METHOD)(b"")

    assert servicer.found == [((), None)]
