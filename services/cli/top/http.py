"""Metrics over HTTP or HTTPS, from one address."""

from __future__ import annotations

import asyncio
import re
import ssl

from motet.core.errors import SettingsError
from services.cli.top.endpoint import EndpointError, MetricsEndpoint

TIMEOUT = 2.0
"""Maximum duration of one reading, in seconds."""

MAX_BYTES = 2 * 2**20
"""Maximum size of a response. A process with many series sends a tenth of it."""

_ADDRESS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):(?P<port>\d{1,5})")
_MAX_PORT = 65535


def http_endpoint(
    name: str, address: str, tls: ssl.SSLContext | None = None, timeout: float = TIMEOUT
) -> MetricsEndpoint:
    """Return the endpoint at HOST:PORT, with TLS if there is a context. `timeout` bounds a reading, in seconds.

    Raises `SettingsError` for another form of address.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or not 1 <= int(match["port"]) <= _MAX_PORT:
        raise SettingsError(f"{address!r} is no address of metrics: write HOST:PORT, as each process prints it")
    host, port = match["host"].strip("[]"), int(match["port"])

    async def read() -> str:
        try:
            async with asyncio.timeout(timeout):
                return _body(await _response(host, port, address, tls))
        except TimeoutError:
            raise EndpointError(f"no answer within {timeout:g} s") from None
        except ssl.SSLError as error:
            raise EndpointError(f"TLS: {getattr(error, 'verify_message', '') or error.reason or 'failed'}") from None
        except ConnectionRefusedError:
            raise EndpointError("refuses connections") from None
        # The encoding of a host name raises a `ValueError`.
        except (OSError, ValueError) as error:
            raise EndpointError(getattr(error, "strerror", None) or "cannot be reached") from None

    return MetricsEndpoint(name, address, read)


async def _response(host: str, port: int, address: str, tls: ssl.SSLContext | None) -> bytes:
    reader, writer = await asyncio.open_connection(host, port, ssl=tls)
    try:
        # A response of HTTP/1.0 has no chunks, and ends with the connection.
        writer.write(f"GET /metrics HTTP/1.0\r\nHost: {address}\r\nAccept: text/plain;version=0.0.4\r\n\r\n".encode())
        received = bytearray()
        while data := await reader.read(2**16):
            received += data
            if len(received) > MAX_BYTES:
                raise EndpointError(f"sends more than {MAX_BYTES / 2**20:g} MiB")
        return bytes(received)
    finally:
        writer.transport.abort()


def _body(response: bytes) -> str:
    head, separator, body = response.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.[01] (\d{3})\b", head)
    if status is None or not separator:
        raise EndpointError("sends no HTTP")
    if status[1] != b"200":
        raise EndpointError(f"answers with the status {status[1].decode()}")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d{1,9})", head)
    if length is not None and len(body) != int(length[1]):
        raise EndpointError("the response is incomplete")
    return body.decode("utf-8", "replace")
