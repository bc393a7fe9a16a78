"""An identity provider on this machine: its keys, its tokens, and a web server for its public keys."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

ISSUER, AUDIENCE = "https://issuer.example", "motet"


@dataclass
class Provider:
    """A provider with one key by default. `pages` counts the requests for its keys."""

    keys: dict[str, ec.EllipticCurvePrivateKey] = field(
        default_factory=lambda: {"k1": ec.generate_private_key(ec.SECP256R1())}
    )
    requests: int = 0
    broken: bool = False

    def token(self, kid: str = "k1", headers: Mapping[str, Any] | None = None, **claims: Any) -> str:
        """Return a token that is valid for a day, except for the claims that are given. None removes a claim."""
        now = time.time()
        filled = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "exp": now + 86_400,
            "nbf": now - 1,
            "sub": "acme",
            "scope": "openid motet:generate motet:read",
        }
        filled = {name: value for name, value in (filled | claims).items() if value is not None}
        named = {name: value for name, value in {"kid": kid, **(headers or {})}.items() if value is not None}
        return jwt.encode(filled, self.keys[kid], "ES256", named)

    def key_set(self) -> bytes:
        """Return the public keys as a JSON Web Key Set."""
        listed = [
            {**ECAlgorithm.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}
            for kid, key in self.keys.items()
        ]
        return json.dumps({"keys": listed}).encode()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve the keys over HTTP at this machine, and yield their URL."""
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        self.requests += 1
        body = b"broken" if self.broken else self.key_set()
        status = b"302 Found\r\nLocation: /keys" if path == b"/moved" else b"200 OK"
        writer.write(b"HTTP/1.0 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body))
        await writer.drain()
        writer.close()
