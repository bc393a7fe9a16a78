"""Tests of the metrics server, and of health when connections or file descriptors run out."""

from __future__ import annotations

import asyncio
import sys
import threading
from contextlib import AsyncExitStack, suppress

import pytest

from motet.core.errors import RetryableError, SettingsError
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.service_metrics import families
from motet.transport.channel import open_channel
from motet.transport.clients import RemoteDecoder
from motet.transport.health_reporter import LIVENESS
from motet.transport.metrics_server import MAX_CONNECTIONS, MetricsServer
from motet.transport.server import Server
from tests.transport.serving import decoded


async def connected(address: str, stack: AsyncExitStack) -> asyncio.StreamReader:
    """Open a connection that the stack closes."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    stack.callback(writer.close)
    return reader


async def get(address: str, target: str, head: str = "") -> tuple[int, str, str]:
    """Return the status, the head and the body of a response."""
    host, _, port = address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {target} HTTP/1.1\r\nHost: test\r\n{head}\r\n".encode())
    async with asyncio.timeout(90):
        response, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return int(response.split()[1]), response, body


async def test_metrics_are_served_in_the_format_that_the_scraper_accepts() -> None:
    async with MetricsServer("127.0.0.1:0", ServiceKind.ORCHESTRATOR) as server:
        status, head, body = await get(server.address, "/metrics?name[]=x")
        _, openmetrics_head, openmetrics = await get(
            server.address, "/metrics", "Accept: application/openmetrics-text;version=1.0.0\r\n"
        )

    assert (status, "motet_calls_running" in body) == (200, True)
    assert f"Content-Length: {len(body)}" in head
    assert "application/openmetrics-text" in openmetrics_head
    assert openmetrics.endswith("# EOF\n")


@pytest.mark.parametrize("kind", ServiceKind)
async def test_a_process_exports_the_metrics_of_its_component_and_those_of_every_process(kind: ServiceKind) -> None:
    async with MetricsServer("127.0.0.1:0", kind) as server:
        _, _, body = await get(server.address, "/metrics")

    names = {family.describe()[0].name: kind in kinds for family, kinds in families().items()}
    own = {name for name, is_own in names.items() if is_own}
    # Python's own collectors have no `motet_` in their names.
    exported = {line.split()[2] for line in body.splitlines() if line.startswith("# TYPE motet_")}
    assert {name for name in names if any(each in (name, f"{name}_total", f"{name}_info") for each in exported)} == own
    assert 0 < len(own) < len(names)
    assert "# TYPE python_info" in body


async def test_health_is_200_only_while_the_server_serves() -> None:
    async with MetricsServer("127.0.0.1:0", ServiceKind.ORCHESTRATOR) as metrics, Server([]) as server:
        loading = await get(metrics.address, "/health")
        metrics.is_serving = server.is_serving
        serving = await get(metrics.address, "/health")
        await server.drain()
        draining = await get(metrics.address, "/health")

    assert [(status, body) for status, _, body in (loading, serving, draining)] == [
        (503, "NOT_SERVING\n"),
        (200, "SERVING\n"),
        (503, "NOT_SERVING\n"),
    ]


async def test_health_has_each_name_of_the_grpc_health_service() -> None:
    ready = {"motet.v1/image": False}
    async with (
        MetricsServer("127.0.0.1:0", ServiceKind.ORCHESTRATOR) as metrics,
        Server([], readiness=lambda: ready) as server,
    ):
        loading = [await get(metrics.address, f"/health?service={name}") for name in ("motet.v1/image", LIVENESS)]
        metrics.is_serving = server.is_serving
        names = ("motet.v1/image", "motet.v1%2Fimage", "", LIVENESS, "motet.v1/imag")
        serving = [await get(metrics.address, f"/health?service={name}") for name in names]
        await server.drain()
        draining = [await get(metrics.address, f"/health?service={name}") for name in ("", LIVENESS)]

    assert [status for status, _, _ in loading] == [503, 200]
    assert [status for status, _, _ in serving] == [503, 503, 200, 200, 404]
    assert serving[-1][2] == "SERVICE_UNKNOWN\n"
    assert [status for status, _, _ in draining] == [503, 200]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /other HTTP/1.1\r\n\r\n", b"404"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"400"),
        (b"\r\n\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\n" + b"A: b\r\n" * 101 + b"\r\n", b"400"),
        (b"GET /metrics HTTP/1.1\r\nA: " + b"b" * 2**17 + b"\r\n\r\n", b""),
    ],
)
async def test_other_requests_are_refused(request_: bytes, status: bytes) -> None:
    async with MetricsServer("127.0.0.1:0", ServiceKind.ORCHESTRATOR) as server:
        host, _, port = server.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(request_)
        try:
            response = await reader.read()
        except ConnectionResetError:
            response = b""
        writer.close()

    assert response[9:12] == status


async def test_idle_connections_take_no_threads_and_keep_no_scrape_out() -> None:
    async with (
        MetricsServer("127.0.0.1:0", ServiceKind.ORCHESTRATOR, timeout=3600) as server,
        AsyncExitStack() as stack,
    ):
        threads = set(threading.enumerate())
        idle = [await connected(server.address, stack) for _ in range(3 * MAX_CONNECTIONS)]
        status, _, _ = await get(server.address, "/metrics")
        # The oldest connections were closed, the newest are open.
        assert [await reader.read() for reader in idle[: 2 * MAX_CONNECTIONS]] == [b""] * 2 * MAX_CONNECTIONS
        assert not idle[-1].at_eof()

        assert set(threading.enumerate()) <= threads
    assert status == 200


async def test_an_idle_connection_is_closed_after_the_timeout() -> None:
    async with (
        MetricsServer("127.0.0.1:0", ServiceKind.ORCHESTRATOR, timeout=0.05) as server,
        AsyncExitStack() as stack,
    ):
        reader = await connected(server.address, stack)
        async with asyncio.timeout(90):
            assert await reader.read() == b""


async def test_an_address_open_to_the_network_is_refused() -> None:
    with pytest.raises(SettingsError, match="can be reached from the network"):
        await MetricsServer("0.0.0.0:0", ServiceKind.ORCHESTRATOR).__aenter__()


FEW_DESCRIPTORS = """
import asyncio, resource
from motet.toys.workers import ToyDecoder
from motet.transport import server
from motet.core.telemetry.service_kind import ServiceKind
from motet.transport.metrics_server import MetricsServer
from services.decoder.servicer import DecoderServicer

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
handshake = "grpc.server_handshake_timeout_ms"
server._OPTIONS = tuple((name, 1000 if name == handshake else value) for name, value in server._OPTIONS)

async def main():
    async with MetricsServer("127.0.0.1:0", ServiceKind.ORCHESTRATOR) as metrics:
        def ready(served):
            metrics.is_serving = served.is_serving
            print(served.address, metrics.address, flush=True)
        await server.Server([DecoderServicer(ToyDecoder())]).run(0, ready)

asyncio.run(main())
"""


async def test_idle_connections_leave_file_descriptors_for_health_and_calls() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", FEW_DESCRIPTORS, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    address, metrics = (await process.stdout.readline()).decode().split()
    async with AsyncExitStack() as stack:
        for _ in range(80):
            await connected(address, stack)
            await connected(metrics, stack)
        status, _, _ = await get(metrics, "/health")
        async with open_channel(address) as channel, asyncio.timeout(90):
            # The connections without HTTP/2 are closed after the handshake timeout.
            media = None
            while media is None:
                with suppress(RetryableError):
                    media = await decoded(RemoteDecoder(channel))
    process.terminate()
    assert (status, await process.wait()) == (200, 0)
