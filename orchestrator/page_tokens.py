"""Page tokens: positions in a list, signed by this process."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets

from motet.core.errors import RequestError

_SIGNATURE_BYTES = 8
_POSITION_BYTES = 8


class PageTokens:
    """Converts positions to opaque tokens and back. It refuses altered tokens and tokens of other processes."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def write(self, position: int) -> str:
        """Return the token of a position. The position must not be negative."""
        raw = position.to_bytes(_POSITION_BYTES, "big")
        return base64.urlsafe_b64encode(raw + self._signature(raw)).decode()

    def read(self, token: str) -> int:
        """Return the position of a token. Raises `RequestError` for a token that `write` did not return."""
        try:
            raw = base64.urlsafe_b64decode(token.encode())
        except (binascii.Error, ValueError):
            raw = b""
        position, signature = raw[:_POSITION_BYTES], raw[_POSITION_BYTES:]
        if not hmac.compare_digest(signature, self._signature(position)):
            raise RequestError("the page token is not one of this server's: start from the first page")
        return int.from_bytes(position, "big")

    def _signature(self, raw: bytes) -> bytes:
        return hmac.digest(self._key, raw, "sha256")[:_SIGNATURE_BYTES]
