"""Endpoints that are away, slow, too large or of others: each is shown as such, and the others are read."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from motet.core.errors import MotetError, SettingsError
from motet.core.telemetry.service_kind import ServiceKind
from motet.transport.metrics_server import MetricsServer
from motet.transport.tls.certificates import TlsFiles
from motet.transport.tls.https import HttpsContext
from motet.transport.tls.reload import ReloadedCertificates
from services.cli.top.addresses import FixedEndpoints, tls_context_of
from services.cli.top.http import MAX_BYTES, http_endpoint
from services.cli.top.monitor import Monitor
from services.cli.top.rows.process import ProcessState
from services.up.certificate_authority import CertificateAuthority
from tests.services.cli.top.expositions import DECODER, ORCHESTRATOR, changed, http, serving
from tests.waiting import LoopHolds

WRONG = {
    "no HTTP": (b"SSH-2.0-x\r\n\r\n", "sends no HTTP"),
    "nothing": (b"", "sends no HTTP"),
    "an error": (http("", "503 Service Unavailable"), "answers with the status 503"),
    "a part": (http(DECODER)[:-10], "the response is incomplete"),
    "too much": (http("a 1\n" * (MAX_BYTES // 4 + 1)), "sends more than 2 MiB"),
    "another format": (http("<html>"), "sends no metrics in the format of Prometheus"),
    "metrics of others": (http("# TYPE up gauge\nup 1\n"), "sends no metrics of Motet"),
}


@pytest.mark.parametrize(("response", "error"), WRONG.values(), ids=WRONG)
async def test_a_wrong_response_is_a_state_of_its_process_alone(response: bytes, error: str) -> None:
    async with serving(lambda: response) as wrong, serving(lambda: http(DECODER)) as right:
        snapshot = await Monitor(FixedEndpoints([wrong, right])).read()

    assert [(row.state, row.error) for row in snapshot.processes] == [
        (ProcessState.UNREACHABLE, error),
        (ProcessState.SERVING, ""),
    ]
    assert (snapshot.reachable, len(snapshot.processes)) == (1, 2)


async def test_a_process_that_is_away_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"

    snapshot = await Monitor(FixedEndpoints([address])).read()

    assert snapshot.processes[0].error == "refuses connections"
    assert snapshot.processes[0].cpu_cores is None


async def test_a_silent_process_ends_its_reading_after_the_timeout() -> None:
    async with serving(lambda: None) as address:
        with pytest.raises(MotetError, match=r"no answer within 0.05 s"):
            await http_endpoint("x", address, timeout=0.05).read()


async def test_rates_appear_with_the_second_reading_and_survive_an_outage() -> None:
    texts = [DECODER, DECODER, None, changed(DECODER, process_cpu_seconds_total=60.0)]
    responses = iter([http(text) if text else http("", "500 Error") for text in texts])
    async with serving(lambda: next(responses)) as address:
        monitor = Monitor(FixedEndpoints([address]))
        cores = [(await monitor.read()).processes[0].cpu_cores for _ in texts]

    assert cores[:3] == [None, 0.0, None]
    assert cores[3] is not None
    assert cores[3] > 0


async def test_hostile_metrics_hold_the_event_loop_for_no_time() -> None:
    hostile = "\n".join(['a{b="' + '\\"' * 1000 + '"} 1'] * 30)
    async with serving(lambda: http(hostile)) as address, LoopHolds() as holds:
        await Monitor(FixedEndpoints([address])).read()

    assert holds.longest < 0.1


@pytest.mark.parametrize("address", ["", "x", "x:", ":1", "x:0", "x:65536", "http://x:1", "x:1/y", "x\r\ny:1", "x y:1"])
def test_a_wrong_address_is_refused(address: str) -> None:
    with pytest.raises(SettingsError, match="HOST:PORT"):
        FixedEndpoints([address])


async def test_a_repeated_address_counts_once() -> None:
    assert len(await FixedEndpoints(["a:1", "a:1", "[::1]:2"]).endpoints()) == 2


@pytest.mark.parametrize("mutual", [False, True])
async def test_metrics_are_read_over_https(tmp_path: Path, mutual: bool) -> None:
    authority = CertificateAuthority(tmp_path)
    client = authority.issue("client")
    async with AsyncExitStack() as stack:
        files = TlsFiles(authority.issue("server"), authority.certificate)
        certificates = await stack.enter_async_context(ReloadedCertificates(files, "client_ca"))
        https = HttpsContext(certificates, mutual)
        server = await stack.enter_async_context(MetricsServer("127.0.0.1:0", ServiceKind.ORCHESTRATOR, https=https))

        async def read(*files: Path | None) -> str:
            endpoint = http_endpoint("x", server.address, tls_context_of(*files))  # type: ignore[arg-type]
            return await endpoint.read()

        assert "motet_plan_jobs_count" in await read(authority.certificate, client.certificate, client.key)
        with pytest.raises(MotetError):
            await read(None, None, None)
        if mutual:
            with pytest.raises(MotetError):
                await read(authority.certificate, None, None)


async def test_a_server_of_another_authority_is_not_trusted(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
    ours, theirs = CertificateAuthority(tmp_path / "ours"), CertificateAuthority(tmp_path / "theirs")
    files = TlsFiles(theirs.issue("server"), theirs.certificate)
    async with ReloadedCertificates(files, "client_ca") as certificates:
        https = HttpsContext(certificates, mutual=False)
        async with MetricsServer("127.0.0.1:0", ServiceKind.ORCHESTRATOR, https=https) as server:
            with pytest.raises(MotetError, match="TLS: "):
                await http_endpoint("x", server.address, tls_context_of(ours.certificate, None, None)).read()


async def test_endpoints_are_read_at_the_same_time() -> None:
    both = asyncio.Barrier(2)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await both.wait()
        writer.write(http(ORCHESTRATOR))
        await writer.drain()
        writer.close()

    servers = [await asyncio.start_server(accept, "127.0.0.1", 0) for _ in range(2)]
    addresses = [f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
    snapshot = await Monitor(FixedEndpoints(addresses)).read()
    for server in servers:
        server.close()

    assert snapshot.reachable == 2
