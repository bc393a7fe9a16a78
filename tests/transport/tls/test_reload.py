"""Tests of certificates that change while connections are open."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from prometheus_client import REGISTRY

from motet.core.errors import RetryableError, SettingsError
from motet.core.media import Media
from motet.core.workers import Load
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder, RemoteWorker
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.server import Server
from motet.transport.tls.certificates import PemPair, TlsFiles
from motet.transport.tls.channel import ReloadingChannel
from motet.transport.tls.reload import ReloadedCertificates
from services.capacity_servicer import CapacityServicer
from services.decoder.servicer import DecoderServicer
from services.up.certificate_authority import CertificateAuthority
from tests.transport.serving import BlockedDecoder, decoded
from tests.waiting import until

INTERVAL = 0.01
LOGGER = "motet.transport.tls.reload"


def serial_of(pair: PemPair) -> int:
    return x509.load_pem_x509_certificate(pair.certificate.read_bytes()).serial_number


async def serial_at(address: str) -> int:
    """Return the serial number of the certificate that a new connection to a server gets."""
    host, port = address.split(":")
    certificate = await asyncio.to_thread(ssl.get_server_certificate, (host, int(port)))
    return x509.load_pem_x509_certificate(certificate.encode()).serial_number


async def test_new_connections_use_a_new_certificate_and_a_running_stream_continues(
    authority: CertificateAuthority,
) -> None:
    decoder, pair = BlockedDecoder(), authority.issue("server")
    credentials = TlsFiles(None, authority.certificate)
    async with (
        ReloadedCertificates(TlsFiles(pair, None), "client_ca", INTERVAL) as certificates,
        Server([DecoderServicer(decoder)], credentials=certificates.server_credentials()) as server,
        open_channel(server.address, credentials.parse(credentials.read()).channel_credentials()) as channel,
    ):
        running = asyncio.create_task(decoded(RemoteDecoder(channel)))
        old, first = serial_of(pair), certificates.current
        assert await serial_at(server.address) == old

        authority.issue("server")
        await until(lambda: certificates.current is not first)
        new = await serial_at(server.address)
        decoder.may_start.set()

        assert new == serial_of(pair) != old
        assert isinstance(await running, Media)


async def test_a_new_certificate_whose_key_is_not_written_yet_is_logged_once_and_not_used(
    authority: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    pair, other = authority.issue("server"), authority.issue("other")
    with caplog.at_level(logging.INFO, LOGGER):
        async with ReloadedCertificates(TlsFiles(pair, None), "client_ca", INTERVAL) as certificates:
            first = certificates.current
            pair.certificate.write_bytes(other.certificate.read_bytes())
            await until(lambda: len(caplog.messages) > 0)
            await asyncio.sleep(5 * INTERVAL)
            assert certificates.current is first
            assert len(caplog.messages) == 1
            assert caplog.messages[0].startswith("the old certificates stay in use: ")

            pair.key.write_bytes(other.key.read_bytes())
            await until(lambda: certificates.current is not first)

            assert certificates.current.chain == other.certificate.read_bytes()


async def test_a_file_that_is_missing_for_a_while_changes_nothing(
    authority: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    pair = authority.issue("server")
    with caplog.at_level(logging.INFO, LOGGER):
        async with ReloadedCertificates(TlsFiles(pair, None), "client_ca", INTERVAL) as certificates:
            first = certificates.current
            pair.key.unlink()
            await until(lambda: len(caplog.messages) > 0)
            await asyncio.sleep(5 * INTERVAL)
            assert certificates.current is first
            assert len(caplog.messages) == 1

            authority.issue("server")
            await until(lambda: certificates.current is not first)


async def test_an_expired_new_certificate_is_not_used_and_the_metric_keeps_the_time_of_the_used_one(
    authority: CertificateAuthority, caplog: pytest.LogCaptureFixture
) -> None:
    pair = authority.issue("server")
    name, labels = "motet_tls_certificate_expiry_timestamp_seconds", {"file": "cert"}
    with caplog.at_level(logging.INFO, LOGGER):
        async with ReloadedCertificates(TlsFiles(pair, authority.certificate), "client_ca", INTERVAL) as certificates:
            first = certificates.current
            assert REGISTRY.get_sample_value(name, labels) == first.chain_expiry
            assert REGISTRY.get_sample_value(name, {"file": "client_ca"}) == first.authorities_expiry

            authority.issue("server", begins=timedelta(days=-2), ends=timedelta(days=-1))
            await until(lambda: len(caplog.messages) > 0)
            assert REGISTRY.get_sample_value(name, labels) == first.chain_expiry

            authority.issue("server", ends=timedelta(days=5))
            await until(lambda: certificates.current is not first)
            await until(lambda: REGISTRY.get_sample_value(name, labels) == certificates.current.chain_expiry)


async def test_a_secret_that_kubernetes_replaces_by_a_symbolic_link_is_used(
    authority: CertificateAuthority, tmp_path: Path
) -> None:
    for version, name in (("1", "first"), ("2", "second")):
        (tmp_path / version).mkdir()
        pair = authority.issue(name)
        pair.certificate.rename(tmp_path / version / "tls.crt")
        pair.key.rename(tmp_path / version / "tls.key")
    data = tmp_path / "..data"
    data.symlink_to("1")
    (tmp_path / "tls.crt").symlink_to("..data/tls.crt")
    (tmp_path / "tls.key").symlink_to("..data/tls.key")
    files = TlsFiles(PemPair(tmp_path / "tls.crt", tmp_path / "tls.key"), None)
    async with ReloadedCertificates(files, "client_ca", INTERVAL) as certificates:
        first = certificates.current
        (tmp_path / "..next").symlink_to("2")
        (tmp_path / "..next").replace(data)

        await until(lambda: certificates.current is not first)

        assert certificates.current.chain == (tmp_path / "2" / "tls.crt").read_bytes()


def test_the_start_refuses_an_expired_certificate(authority: CertificateAuthority) -> None:
    pair = authority.issue("server", begins=timedelta(days=-2), ends=timedelta(days=-1))

    with pytest.raises(SettingsError, match="expired at"):
        ReloadedCertificates(TlsFiles(pair, None), "client_ca")


class Deployment:
    """A decoder that requires a client certificate, and the channel of its caller. Certificates are in two files."""

    def __init__(self, authority: CertificateAuthority) -> None:
        self.authority = authority
        self.decoder = BlockedDecoder()
        self.limiter = ConcurrencyLimiter()
        authority.issue("decoder", "decoder")
        authority.issue("orchestrator", "orchestrator")

    async def start(self, stack: AsyncExitStack) -> ReloadingChannel:
        self.listener = await stack.enter_async_context(
            ReloadedCertificates(self._files("decoder"), "client_ca", INTERVAL)
        )
        self.certificates = await stack.enter_async_context(
            ReloadedCertificates(self._files("orchestrator"), "ca", INTERVAL)
        )
        servicers = [DecoderServicer(self.decoder), CapacityServicer(self.limiter, "sha256:toy")]
        self.server = await stack.enter_async_context(
            Server(servicers, limiter=self.limiter, credentials=self.listener.server_credentials())
        )
        address = self.server.address
        return await stack.enter_async_context(
            ReloadingChannel(self.certificates, lambda credentials: open_channel(address, credentials, retries=False))
        )

    async def rotate(self) -> None:
        """Replace both certificates, and wait until they are in use."""
        with self._change() as used:
            self.authority.issue("decoder", "decoder")
            self.authority.issue("orchestrator", "orchestrator")
        await used()

    async def replace_authority(self, new: CertificateAuthority) -> None:
        """Trust both authorities, use certificates of the new one, and trust only the new one."""
        file = self.authority.certificate
        for authorities in (file.read_bytes() + new.certificate.read_bytes(), None, new.certificate.read_bytes()):
            with self._change() as used:
                if authorities is not None:
                    file.write_bytes(authorities)
                else:
                    for role in ("decoder", "orchestrator"):
                        pair = new.issue(role, role)
                        pair.certificate.replace(file.with_name(f"{role}.pem"))
                        pair.key.replace(file.with_name(f"{role}.key"))
            await used()

    @contextmanager
    def _change(self) -> Iterator[Callable[[], Awaitable[None]]]:
        """Yield a function that waits until both sides use files that were changed in the context."""
        old = self.listener.current, self.certificates.current
        yield lambda: until(lambda: self.listener.current is not old[0] and self.certificates.current is not old[1])

    def _files(self, name: str) -> TlsFiles:
        folder = self.authority.certificate.parent
        return TlsFiles(PemPair(folder / f"{name}.pem", folder / f"{name}.key"), self.authority.certificate)


async def test_a_running_call_keeps_its_connection_and_a_new_call_uses_the_new_certificate(
    authority: CertificateAuthority,
) -> None:
    deployment = Deployment(authority)
    async with AsyncExitStack() as stack:
        channel = await deployment.start(stack)
        remote = RemoteDecoder(channel)
        running = asyncio.create_task(decoded(remote))
        await until(lambda: deployment.limiter.load.running == 1)

        await deployment.rotate()
        second = asyncio.create_task(decoded(remote))
        await until(lambda: deployment.limiter.load.running == 2)
        assert len(channel._retired) == 1
        deployment.decoder.may_start.set()

        assert isinstance(await running, Media)
        assert isinstance(await second, Media)
        await until(lambda: not channel._retired)


async def test_the_watch_of_a_load_moves_to_the_new_connection_so_the_old_one_is_closed(
    authority: CertificateAuthority,
) -> None:
    deployment = Deployment(authority)
    async with AsyncExitStack() as stack:
        channel = await deployment.start(stack)
        loads: list[Load] = []

        async def watch() -> None:
            async for load in RemoteWorker(channel).watch_load():
                loads.append(load)

        watching = asyncio.create_task(watch())
        deployment.decoder.may_start.set()
        await until(lambda: bool(loads))
        for _ in range(3):
            await deployment.rotate()
            await decoded(RemoteDecoder(channel))
            await until(lambda: not channel._retired)
        seen = len(loads)
        await decoded(RemoteDecoder(channel))
        await until(lambda: len(loads) > seen)
        watching.cancel()


@asynccontextmanager
async def streams(deployment: Deployment) -> AsyncIterator[None]:
    """Run eight callers, each with one call after another. No call may fail."""
    deployment.decoder.may_start.set()
    running, completed = True, 0
    async with AsyncExitStack() as stack:
        remote = RemoteDecoder(await deployment.start(stack))

        async def stream() -> None:
            nonlocal completed
            while running:
                assert isinstance(await decoded(remote), Media)
                completed += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(stream())
            yield
            running = False
    assert completed >= 8


async def test_certificates_that_change_under_streams_fail_no_call(authority: CertificateAuthority) -> None:
    deployment = Deployment(authority)
    async with streams(deployment):
        for _ in range(5):
            await deployment.rotate()


async def test_an_authority_is_replaced_under_streams_without_a_failed_call(
    authority: CertificateAuthority, untrusted: CertificateAuthority
) -> None:
    deployment = Deployment(authority)
    async with streams(deployment):
        await deployment.replace_authority(untrusted)


async def test_a_caller_whose_certificate_has_expired_is_refused(authority: CertificateAuthority) -> None:
    files = TlsFiles(authority.issue("decoder"), authority.certificate)
    expired = authority.issue("client", begins=timedelta(days=-2), ends=timedelta(days=-1))
    certificates = ReloadedCertificates(files, "client_ca")
    credentials = grpc.ssl_channel_credentials(
        authority.certificate.read_bytes(), expired.key.read_bytes(), expired.certificate.read_bytes()
    )
    async with (
        Server([DecoderServicer(BlockedDecoder())], credentials=certificates.server_credentials()) as server,
        open_channel(server.address, credentials, retries=False) as channel,
    ):
        with pytest.raises(RetryableError):
            await decoded(RemoteDecoder(channel))


async def test_a_channel_is_replaced_at_its_maximum_age_under_streams_without_a_failed_call(
    authority: CertificateAuthority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ReloadingChannel.__init__, "__defaults__", (0.05,))
    deployment = Deployment(authority)
    async with AsyncExitStack() as stack:
        channel = await deployment.start(stack)
        deployment.decoder.may_start.set()
        first, loads = channel._channel, RemoteWorker(channel).watch_load()
        await anext(loads)
        for _ in range(3):
            present = channel._channel
            while channel._channel is present:
                await asyncio.gather(*(decoded(RemoteDecoder(channel)) for _ in range(4)))
        # The watch of the load moves, too, so the first connection is closed.
        while first in channel._retired:
            await anext(loads)


async def test_a_server_whose_certificate_expired_is_refused_by_the_next_connection_of_an_old_channel(
    authority: CertificateAuthority,
) -> None:
    deployment = Deployment(authority)
    async with AsyncExitStack() as stack:
        channel = await deployment.start(stack)
        deployment.decoder.may_start.set()
        await decoded(RemoteDecoder(channel))
        # gRPC reads the certificate of a listener at each handshake. This one has expired.
        expired = authority.issue("old", "decoder", begins=timedelta(days=-2), ends=timedelta(days=-1))
        deployment.listener.current = replace(
            deployment.listener.current, chain=expired.certificate.read_bytes(), key=expired.key.read_bytes()
        )
        assert isinstance(await decoded(RemoteDecoder(channel)), Media)

        channel._max_age = 0.0
        with pytest.raises(RetryableError):
            await decoded(RemoteDecoder(channel))
