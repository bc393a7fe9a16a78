"""The HTTP server of a process: metrics for Prometheus, and health."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from http import HTTPStatus
from http.client import HTTPException, parse_headers
from io import BytesIO
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs

from prometheus_client.exposition import choose_encoder

from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.service_metrics import ServiceMetrics
from motet.transport.address import bind_error, check_exposed, split_address
from motet.transport.health_reporter import LIVENESS
from motet.transport.tls.https import HttpsContext

MAX_CONNECTIONS = 16
"""Maximum number of open connections. A new connection beyond it closes the oldest one."""

TIMEOUT = 5.0
"""Maximum time from the start of a connection to its end, in seconds."""

_MAX_HEAD_BYTES = 8192


class MetricsServer:
    """An HTTP server for `/metrics` and `/health` at HOST:PORT, in the event loop.

    `/metrics` has the metrics of the process's `kind`. It awaits `before_scrape`, which must be fast.
    `/health` has the status 200 if `is_serving("")` returns true, and 503 otherwise. `/health?service=NAME` does the
    same for another name, and has the status 404 if `is_serving` returns None for it. Connections are bounded in number
    and time, so idle and slow connections keep no scrape and no health check out. A connection serves one request. With
    `https`, connections are encrypted.
    """

    def __init__(
        self,
        address: str,
        kind: ServiceKind,
        allow_insecure: bool = False,
        timeout: float = TIMEOUT,
        https: HttpsContext | None = None,
    ) -> None:
        self.address = address
        self._metrics = ServiceMetrics(kind)
        self.is_serving: Callable[[str], bool | None] = _is_live
        self.before_scrape: Callable[[], Awaitable[None]] = _nothing
        self._insecure_anywhere = allow_insecure
        self._timeout = timeout
        self._https = https
        self._connections: dict[asyncio.Task[None], None] = {}
        """The tasks of the open connections, oldest first."""

    async def __aenter__(self) -> Self:
        """Bind and serve. Then `address` holds the bound port, also if port 0 was given.

        Raises `SettingsError` for an address that cannot be bound, or that is open to the network without permission.
        """
        if not self._insecure_anywhere:
            tls, mutual = self._https is not None, self._https is not None and self._https.mutual
            remedy, permission = "set --metrics-tls mutual", "--allow-insecure-metrics"
            check_exposed(self.address, tls=tls, authenticated=mutual, remedy=remedy, permission=permission)
        host, port = split_address(self.address)
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=_MAX_HEAD_BYTES)
        except OSError as error:
            raise bind_error(self.address, error) from None
        self.address = f"{self.address.rpartition(':')[0]}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close all connections and release the address."""
        self._server.close()
        for connection in self._connections:
            connection.cancel()
        await self._server.wait_closed()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) == MAX_CONNECTIONS:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            oldest.cancel()
        if self._https is not None:
            # The first bytes are for the TLS handshake, not for the reader.
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        task = asyncio.create_task(self._serve(reader, writer))
        self._connections[task] = None
        task.add_done_callback(lambda task: self._connections.pop(task, None))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one request, and close the connection."""
        try:
            with suppress(TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                async with asyncio.timeout(self._timeout):
                    if self._https is not None:
                        await writer.start_tls(self._https.current())
                    writer.write(await self._response(await reader.readuntil(b"\r\n\r\n")))
                    writer.close()
                    await writer.wait_closed()
        finally:
            writer.transport.abort()

    def _health(self, query: str) -> bytes:
        """Return the response to a request for the health of the name in a query."""
        match self.is_serving(parse_qs(query).get("service", [""])[0]):
            case None:
                return _http(HTTPStatus.NOT_FOUND, "text/plain", b"SERVICE_UNKNOWN\n")
            case True:
                return _http(HTTPStatus.OK, "text/plain", b"SERVING\n")
            case _:
                return _http(HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", b"NOT_SERVING\n")

    async def _exposition(self, head: bytes) -> bytes:
        """Return the metrics, in the format that the headers accept."""
        try:
            accept = parse_headers(BytesIO(head)).get("Accept", "")
        except HTTPException:
            return _http(HTTPStatus.BAD_REQUEST, "text/plain", b"The headers are invalid or too many.\n")
        encode, media_type = choose_encoder(accept)
        await self.before_scrape()
        return _http(HTTPStatus.OK, media_type, encode(self._metrics))

    async def _response(self, head: bytes) -> bytes:
        """Return the response to a request with this head."""
        request_line, _, rest = head.partition(b"\r\n")
        match request_line.split(b" "):
            case [b"GET", target, _]:
                path, _, query = target.partition(b"?")
                match path:
                    case b"/metrics":
                        return await self._exposition(rest)
                    case b"/health":
                        return self._health(query.decode("ascii", "replace"))
                return _http(HTTPStatus.NOT_FOUND, "text/plain", b"There are /metrics and /health.\n")
        return _http(HTTPStatus.BAD_REQUEST, "text/plain", b"Send a GET request of HTTP/1.1.\n")


def _is_live(name: str) -> bool:
    """Return whether the health of a name is SERVING while the process loads: it is alive, and serves nothing."""
    return name == LIVENESS


async def _nothing() -> None:
    """Do nothing before a scrape."""


def _http(status: HTTPStatus, media_type: str, body: bytes) -> bytes:
    head = f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Connection: close\r\n\r\n".encode() + body
