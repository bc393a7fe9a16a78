"""An identity provider on this machine: its keys, its tokens, and a web server for its public keys."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from motet.transport.access.json_web_keys import parse_keys

ISSUER, AUDIENCE = "https://issuer.example", "motet"


class ProviderKeys:
    """The present keys of a provider, without a way between."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def find(self, key_id: str) -> Any:
        """Return the key with an id, or None."""
        return parse_keys(self._provider.key_set(), "keys").get(key_id) if self._provider.keys else None


@dataclass
class Provider:
    """A provider with one key by default. `requests` counts the requests for its keys.

    While `silent` is set, it answers only after `speak` was set. `pause` is the time between two bytes of its answer.
    """

    keys: dict[str, ec.EllipticCurvePrivateKey] = field(
        default_factory=lambda: {"k1": ec.generate_private_key(ec.SECP256R1())}
    )
    requests: int = 0
    broken: bool = False
    pause: float = 0.0
    silent: asyncio.Event = field(default_factory=asyncio.Event)
    speak: asyncio.Event = field(default_factory=asyncio.Event)

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
        answers: set[asyncio.Task[None]] = set()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.current_task()
            assert task is not None
            answers.add(task)
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                try:
                    await self._answer(reader, writer)
                finally:
                    writer.close()
                    await writer.wait_closed()

        async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
            for task in answers:
                task.cancel()
            await asyncio.gather(*answers, return_exceptions=True)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readuntil(b"\r\n\r\n")).split()[1]
        self.requests += 1
        if self.silent.is_set():
            await self.speak.wait()
        body = b"broken" if self.broken else self.key_set()
        status = b"302 Found\r\nLocation: /keys" if path == b"/moved" else b"200 OK"
        writer.write(b"HTTP/1.0 %s\r\nContent-Length: %d\r\n\r\n" % (status, len(body)))
        for piece in (body[i : i + 1] for i in range(len(body))) if self.pause else (body,):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(self.pause)
