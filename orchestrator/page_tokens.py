"""Page tokens: where a list goes on, sealed so that only this process can have written it."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets

from motet.core.errors import RequestError

_SEAL = 8
_NUMBER = 8


class PageTokens:
    """Turns a position into an opaque token and back. Tokens of another process are refused, as are altered ones."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def write(self, position: int) -> str:
        """The token of a position, which is not negative."""
        raw = position.to_bytes(_NUMBER, "big")
        return base64.urlsafe_b64encode(raw + self._seal(raw)).decode()

    def read(self, token: str) -> int:
        """The position of a token. Raises `RequestError` for what `write` did not write."""
        try:
            raw = base64.urlsafe_b64decode(token.encode())
        except (binascii.Error, ValueError):
            raw = b""
        position, seal = raw[:_NUMBER], raw[_NUMBER:]
        if not hmac.compare_digest(seal, self._seal(position)):
            raise RequestError("the page token is not one of this server's: start from the first page")
        return int.from_bytes(position, "big")

    def _seal(self, raw: bytes) -> bytes:
        return hmac.digest(self._key, raw, "sha256")[:_SEAL]
