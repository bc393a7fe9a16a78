"""Tests of the maximum age of a connection, after which a handshake verifies the caller again."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import grpc
import grpc.aio

from motet.core.media import Media
from motet.toys.workers import ToyDecoder
from motet.transport.bounds.limits import ConnectionLimits
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder
from motet.transport.server import Server
from motet.transport.tls.certificates import TlsFiles
from motet.transport.tls.reload import ReloadedCertificates
from services.decoder.servicer import DecoderServicer
from services.up.certificate_authority import CertificateAuthority
from tests.transport.serving import BlockedDecoder, decoded
from tests.waiting import until


async def test_a_removed_authority_counts_at_the_maximum_age_of_a_connection_and_running_calls_stay(
    authority: CertificateAuthority, untrusted: CertificateAuthority
) -> None:
    decoder, pair = BlockedDecoder(), authority.issue("decoder", "decoder")
    listener = ReloadedCertificates(TlsFiles(pair, authority.certificate), "client_ca")
    caller = TlsFiles(authority.issue("orchestrator", "orchestrator"), authority.certificate)
    server = Server(
        [DecoderServicer(decoder)],
        credentials=listener.server_credentials(),
        connection_limits=ConnectionLimits(max_age=0.2),
    )
    credentials = caller.parse(caller.read()).channel_credentials()
    async with server, open_channel(server.address, credentials, retries=False) as channel:
        running = asyncio.create_task(decoded(RemoteDecoder(channel)))
        await until(lambda: server.limiter.load.running == 1)
        listener.current = replace(listener.current, authorities=untrusted.certificate.read_bytes())
        async with asyncio.timeout(90):
            while not (refused := await is_refused(channel)):
                await asyncio.sleep(0.05)
        decoder.may_start.set()

        assert refused
        assert isinstance(await running, Media)


async def is_refused(channel: grpc.aio.Channel) -> bool:
    """Return whether a new call needs a new connection, and this one is refused."""
    code = await channel.unary_unary("/grpc.health.v1.Health/Check")(b"").code()
    assert code in (grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE)
    return code is grpc.StatusCode.UNAVAILABLE


async def test_connections_that_reach_their_maximum_age_fail_no_call() -> None:
    server = Server([DecoderServicer(ToyDecoder())], connection_limits=ConnectionLimits(max_age=0.05))
    async with server, open_channel(server.address, retries=False) as channel:
        for _ in range(30):
            await asyncio.gather(*(decoded(RemoteDecoder(channel)) for _ in range(8)))
            await asyncio.sleep(0.01)
