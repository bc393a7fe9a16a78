"""The connection of a client to a server."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import grpc

from motet.client.credentials import AUTHORIZATION, key_metadata
from motet.core.errors import RequestError, SettingsError
from motet.core.logs.request_id import checked_request_id
from motet.transport.channel import check_process, checked_address, open_channel
from motet.transport.client_call import (
    REQUEST_ID_KEY,
    Metadata,
    StreamCall,
    UnaryCall,
    end_timer,
    open_stream,
    unary,
)
from motet.transport.proxy import proxy_of, without_password

_KEY = re.compile(r"(?!grpc-)[0-9a-z_.-]+(?<!-bin)")
_VALUE = re.compile(r"[ -~]*")


class Connection:
    """A channel, and what all calls of a client have in common. `peer` names the server in errors.

    `metadata` is sent with every call, with an id of the request, unless `metadata` has one, and with `api_key`, unless
    it is "", see `key_metadata`. `timeout` limits each call with one response, in seconds. `proxy` is the URL of an
    HTTP proxy, or "". Each call raises `RequestError` if the connection is closed or the process was forked.
    """

    def __init__(
        self,
        address: str,
        credentials: grpc.ChannelCredentials | None,
        metadata: Mapping[str, str],
        timeout: float,
        proxy: str,
        api_key: str,
        allow_insecure: bool,
    ) -> None:
        self._metadata = _checked(metadata)
        self._request_id = metadata.get(REQUEST_ID_KEY, "")
        if api_key:
            encrypted = credentials is not None
            if AUTHORIZATION in metadata:
                raise SettingsError("there are an API key and an authorization in the metadata: remove one of them")
            key = key_metadata(api_key, checked_address(address), encrypted=encrypted, allow_insecure=allow_insecure)
            self._metadata += tuple(key.items())
        self.channel = open_channel(address, credentials, proxy=proxy)
        used_proxy = without_password(proxy_of(address, proxy))
        self.peer = f"Motet at {address}" + (f", through the proxy {used_proxy}," if used_proxy else "")
        self._timeout = timeout
        self.end_timer = end_timer()
        self._closed = False

    async def unary(self, method: Callable[..., UnaryCall[Any]], request: Any) -> Any:
        """Return the response of a call with one response."""
        self.check()
        request_id, metadata = self._identify(request)
        return await unary(method(request, timeout=self._timeout, metadata=metadata), self.peer, request_id)

    def stream(
        self, method: Callable[..., StreamCall[Any]], request: Any, timeout: float | None = None
    ) -> open_stream[Any]:
        """Return the responses of a call, see `open_stream`. `timeout` limits the call, in seconds."""
        self.check()
        request_id, metadata = self._identify(request)
        return open_stream(method(request, timeout=timeout, metadata=metadata), self.peer, request_id)

    def check(self) -> None:
        """Raise `RequestError` if no call is possible."""
        check_process()
        if self._closed:
            raise RequestError("the client is closed; create a new client")

    def _identify(self, request: Any) -> tuple[str, Metadata]:
        """Return the id of a request, which is its own one or a new one, and the metadata of its call."""
        if self._request_id:
            return self._request_id, self._metadata
        # An id that metadata cannot hold is an error of the server's validation.
        request_id = checked_request_id(getattr(request, "request_id", ""))
        return request_id, (*self._metadata, (REQUEST_ID_KEY, request_id))

    async def close(self) -> None:
        """Close the channel and cancel all running calls."""
        self._closed = True
        await self.channel.close()


def _checked(metadata: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    for key, value in metadata.items():
        if not (_KEY.fullmatch(key) and _VALUE.fullmatch(value)):
            raise SettingsError(
                f"the metadata {key!r} cannot be sent: a key has lower-case letters, digits, '_', '-' and '.', and "
                "does not begin with 'grpc-' or end with '-bin'; a value has printable ASCII characters",
                metadata={"key": key},
            )
    return tuple(metadata.items())
