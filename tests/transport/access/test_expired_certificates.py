"""Tests of certificates that expire while their connection is open."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509

from motet.core.errors import AccessError, Reason
from motet.core.media import Media
from motet.toys.workers import Pause, ToyDecoder
from motet.transport import peer
from motet.transport.access import credentials as credentials_module
from motet.transport.access.authentication import Authentication, PeerCertificates
from motet.transport.access.running_calls import RunningCalls
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteWorker
from motet.transport.server import Server
from motet.transport.tls.certificates import PemPair, TlsFiles
from motet.transport.tls.reload import ReloadedCertificates
from services.orchestrator.servicer import GenerationServicer, ModelServicer
from services.up.certificate_authority import CertificateAuthority
from tests.callers import for_anyone
from tests.orchestrator.pipeline_harness import orchestrator_of, request_of, script_of
from tests.scripted_motet import ScriptedMotet
from tests.transport.access.keys import KeyRing, bearer
from tests.transport.access.test_certificates import credentials_of
from tests.transport.serving import BlockedDecoder, decoded, served
from tests.waiting import until

INTERVAL = 0.02
Expire = Callable[[], None]


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority(tmp_path)


@pytest.fixture
def expire(monkeypatch: pytest.MonkeyPatch) -> Expire:
    """A function after which all certificates have expired for the checks of calls, but for no handshake."""

    def expire() -> None:
        monkeypatch.setattr(credentials_module, "time", SimpleNamespace(time=lambda: 4e9))

    return expire


def listener(authority: CertificateAuthority) -> grpc.ServerCredentials:
    files = TlsFiles(authority.issue("server", "decoder"), authority.certificate)
    return ReloadedCertificates(files, "client_ca").server_credentials()


@asynccontextmanager
async def worker(
    authority: CertificateAuthority, caller: PemPair, decoder: ToyDecoder
) -> AsyncIterator[grpc.aio.Channel]:
    """Serve a decoder that requires certificates, and yield a caller's channel to it."""
    options: dict[str, Any] = {
        "credentials": listener(authority),
        "authentication": Authentication([PeerCertificates()]),
        "recheck_interval": INTERVAL,
    }
    async with (
        served(decoder, **options) as (server, _),
        open_channel(server.address, credentials_of(authority, caller), retries=False) as channel,
    ):
        yield channel


async def test_a_worker_refuses_new_jobs_of_an_expired_orchestrator_and_finishes_the_running_one(
    authority: CertificateAuthority, expire: Expire
) -> None:
    decoder = BlockedDecoder()
    async with worker(authority, authority.issue("caller", "orchestrator"), decoder) as channel:
        remote, loads = RemoteDecoder(channel), RemoteWorker(channel).watch_load()
        running = asyncio.create_task(decoded(remote))
        while not (await anext(loads)).running:
            pass

        expire()

        with pytest.raises(AccessError) as refused:
            await decoded(remote)
        assert refused.value.reason is Reason.CREDENTIALS_INVALID
        # The watch of the load has no end, so it is ended.
        with pytest.raises(AccessError):
            [load async for load in loads]
        assert not running.done()
        decoder.may_start.set()
        assert isinstance(await running, Media)


async def test_a_certificate_that_expired_refuses_a_valid_key_on_its_connection_too(
    authority: CertificateAuthority, expire: Expire
) -> None:
    keys = KeyRing()
    key = bearer(keys.key_of("own"))
    pair = authority.issue("caller")
    server = Server(
        [ModelServicer(for_anyone(ScriptedMotet()))],
        credentials=listener(authority),
        authentication=keys.authentication(),
    )
    async with server, open_channel(server.address, credentials_of(authority, pair), retries=False) as channel:
        models = channel.unary_unary("/motet.v1.ModelService/ListModels")
        await models(b"", metadata=key)
        expire()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await models(b"", metadata=key)

    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_the_running_generation_of_a_tenant_with_an_expired_certificate_ends(
    authority: CertificateAuthority, expire: Expire
) -> None:
    from motet.client import Client

    async with orchestrator_of(script_of("Wait.", Pause())) as orchestrator:
        server = Server(
            [GenerationServicer(orchestrator.for_caller)],
            credentials=listener(authority),
            authentication=Authentication([PeerCertificates(name_tenants=True)]),
            recheck_interval=INTERVAL,
        )
        credentials = credentials_of(authority, authority.issue("caller"))
        async with server, Client(server.address, credentials=credentials) as client:
            events = client.generate(request_of())
            await anext(events)
            expire()
            with pytest.raises(AccessError) as caught:
                [event async for event in events]
            await until(lambda: orchestrator.running == 0)

    assert caught.value.reason is Reason.CREDENTIALS_INVALID


async def test_a_certificate_is_valid_in_its_last_second_and_not_after_it(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = authority.issue("caller", "orchestrator")
    end = x509.load_pem_x509_certificate(pair.certificate.read_bytes()).not_valid_after_utc.timestamp()
    async with worker(authority, pair, ToyDecoder()) as channel:
        for seconds, valid in ((end, True), (end + 0.5, False)):
            monkeypatch.setattr(credentials_module, "time", SimpleNamespace(time=lambda now=seconds: now))
            if valid:
                assert isinstance(await decoded(RemoteDecoder(channel)), Media)
            else:
                with pytest.raises(AccessError):
                    await decoded(RemoteDecoder(channel))


async def test_a_certificate_is_parsed_once_for_all_calls_of_its_connections(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: Counter[str] = Counter()
    parse = x509.load_pem_x509_certificate
    pair = authority.issue("caller", "orchestrator")
    peer._expire_time_of.cache_clear()

    def counted(data: bytes) -> x509.Certificate:
        counts["parsed"] += 1
        return parse(data)

    monkeypatch.setattr(x509, "load_pem_x509_certificate", counted)
    for _ in range(2):
        async with worker(authority, pair, ToyDecoder()) as channel:
            for _ in range(3):
                await decoded(RemoteDecoder(channel))

    assert counts["parsed"] == 1
    assert peer._expire_time_of.cache_info().maxsize == peer._MAX_CERTIFICATES


def test_jobs_of_workers_are_the_only_calls_that_are_not_checked_again() -> None:
    from motet.transport.access.authorization import ROLES

    class Call:
        def __init__(self, method: str) -> None:
            self.method = method

    added = set()
    calls = RunningCalls(Authentication([PeerCertificates()]))
    calls._timer.add = lambda call: added.add(call.method)  # type: ignore[method-assign]
    for method in ROLES:
        calls.add(Call(method))  # type: ignore[arg-type]

    assert {method.rpartition(".v1.")[2] for method in ROLES.keys() - added} == {
        "EncoderService/Encode",
        "LanguageModelService/Generate",
        "DecoderService/Decode",
        "DecoderService/DecodeChunked",
    }
