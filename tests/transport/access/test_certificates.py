"""Tests of callers that are authenticated by the client certificate of their connection."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from motet.core.caller import Caller
from motet.core.errors import AccessError, Reason
from motet.core.events import State
from motet.toys.workers import ToyDecoder
from motet.transport.access.authentication import Authentication, PeerCertificates
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteWorker
from motet.transport.tls.certificates import PemPair, TlsFiles
from motet.transport.tls.reload import ReloadedCertificates
from services.orchestrator.servicer import GenerationServicer
from services.up.certificate_authority import CertificateAuthority
from tests.scripted_motet import ScriptedMotet, done
from tests.transport.serving import decoded, served

WORKERS = Authentication([PeerCertificates()])
PUBLIC = Authentication([PeerCertificates(name_tenants=True)])


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path)


@asynccontextmanager
async def worker(authority: CertificateAuthority, caller: PemPair) -> AsyncIterator[grpc.aio.Channel]:
    """Serve a decoder that requires certificates, and yield a caller's channel to it."""
    files = TlsFiles(authority.issue("server", "decoder"), authority.certificate)
    credentials = ReloadedCertificates(files, "client_ca").server_credentials()
    async with (
        served(ToyDecoder(), credentials=credentials, authentication=WORKERS) as (server, _),
        open_channel(server.address, credentials_of(authority, caller)) as channel,
    ):
        yield channel


def credentials_of(authority: CertificateAuthority, pair: PemPair) -> grpc.ChannelCredentials:
    parts = (authority.certificate, pair.key, pair.certificate)
    return grpc.ssl_channel_credentials(*(path.read_bytes() for path in parts))


@pytest.mark.parametrize("role", ["orchestrator", "operator", "encoder", "llm", "decoder", "other", None])
async def test_a_worker_serves_the_orchestrator_and_drains_for_an_operator_only(
    authority: CertificateAuthority, role: str | None
) -> None:
    async with worker(authority, authority.issue("caller", role)) as channel:
        outcomes = {"decode": None, "drain": None, "load": None}
        calls = {
            "decode": decoded(RemoteDecoder(channel)),
            "load": anext(RemoteWorker(channel).watch_load()),
            "drain": RemoteWorker(channel).drain(0),
        }
        for name, call in calls.items():
            try:
                await call
            except AccessError as error:
                outcomes[name] = error.reason

    missing = Reason.CREDENTIALS_MISSING if role in ("other", None) else Reason.ROLE_MISSING
    allowed = {"orchestrator": {"decode", "load"}, "operator": {"drain", "load"}}.get(role or "", set())
    assert outcomes == {name: None if name in allowed else missing for name in outcomes}


@pytest.mark.parametrize(
    ("uris", "tenant"),
    [
        ((), "localhost"),
        (("spiffe://example.org/team/blue",), "spiffe://example.org/team/blue"),
        (("spiffe://motet.local/motet/blue",), "spiffe://motet.local/motet/blue"),
        ((f"spiffe://example.org/{'x' * 64}",), None),
        (("spiffe://motet.local/motet/decoder",), None),
        (("spiffe://motet.local/motet/operator",), None),
    ],
)
async def test_the_first_name_in_a_certificate_without_a_role_of_motet_is_the_tenant(
    authority: CertificateAuthority, uris: tuple[str, ...], tenant: str | None
) -> None:
    from motet.client import Client
    from motet.transport.server import Server

    seen: list[Caller] = []

    def motet_of(caller: Caller) -> ScriptedMotet:
        seen.append(caller)
        return ScriptedMotet(done())

    files = TlsFiles(authority.issue("server"), authority.certificate)
    credentials = ReloadedCertificates(files, "client_ca").server_credentials()
    async with (
        Server([GenerationServicer(motet_of)], credentials=credentials, authentication=PUBLIC) as server,
        Client(server.address, credentials=credentials_of(authority, authority.issue("caller", uris=uris))) as client,
    ):
        try:
            assert (await client.get("generations/g1")).state is State.SUCCEEDED
        except AccessError:
            assert tenant is None

    assert [caller.tenant for caller in seen] == [name for name in (tenant,) if name]
