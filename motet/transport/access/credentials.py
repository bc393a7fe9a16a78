"""The credentials of one call: a bearer token in its metadata, and the client certificate of its connection."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any

from motet.transport.access.outcome import Outcome, RefusedError
from motet.transport.peer import Peer

if TYPE_CHECKING:
    import grpc.aio

    _Context = grpc.aio.ServicerContext[Any, Any]

METADATA_KEY = "authorization"
"""The key of the metadata that holds a bearer token, as in HTTP: `authorization: Bearer TOKEN`."""

MAX_TOKEN_LENGTH = 8192
"""Maximum number of characters of a bearer token. gRPC refuses larger metadata itself."""

_SCHEME = "bearer"


class Credentials:
    """The credentials of one call, read from its context when an authenticator needs them."""

    def __init__(self, context: _Context) -> None:
        self._context = context

    def bearer_token(self) -> str | None:
        """Return the call's bearer token, or None if the call has no `authorization`.

        Raises `RefusedError` for two tokens, another scheme, and a token that is too long.
        """
        values = [value for key, value in self._context.invocation_metadata() or () if key == METADATA_KEY]
        if not values:
            return None
        scheme, _, token = str(values[0]).partition(" ")
        if len(values) > 1 or scheme.lower() != _SCHEME or not 0 < len(token) <= MAX_TOKEN_LENGTH:
            raise RefusedError(Outcome.MALFORMED)
        return token

    @cached_property
    def peer(self) -> Peer:
        """The client of the call's connection."""
        return Peer(self._context)

    def check_certificate(self) -> None:
        """Raise `RefusedError` if the client's certificate has expired since the handshake."""
        try:
            expire_time = self.peer.expire_time
        except ValueError:
            raise RefusedError(Outcome.MALFORMED, "certificate") from None
        if expire_time is not None and time.time() > expire_time:
            raise RefusedError(Outcome.EXPIRED, "certificate")
