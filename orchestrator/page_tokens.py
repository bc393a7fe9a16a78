"""Page tokens: positions in the list of a tenant, signed by this process."""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets

from motet.core.errors import RequestError

_SIGNATURE_BYTES = 8
_POSITION_BYTES = 8


class PageTokens:
    """Converts positions to opaque tokens and back.

    It refuses altered tokens, tokens of other processes, and tokens of other tenants.
    """

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def write(self, tenant: str, position: int) -> str:
        """Return the token of a position. The position must not be negative."""
        raw = position.to_bytes(_POSITION_BYTES, "big")
        return base64.urlsafe_b64encode(raw + self._signature(tenant, raw)).decode()

    def read(self, tenant: str, token: str) -> int:
        """Return the position of a token. Raises `RequestError` if `write` did not return it for this tenant."""
        try:
            raw = base64.urlsafe_b64decode(token.encode())
        except (binascii.Error, ValueError):
            raw = b""
        position = int.from_bytes(raw[:_POSITION_BYTES], "big")
        # The decoder skips unknown characters, so the whole token is compared.
        given = token.encode("utf-8", "backslashreplace")
        if not hmac.compare_digest(given, self.write(tenant, position).encode()):
            raise RequestError("the page token is not one of this server's: start from the first page")
        return position

    def _signature(self, tenant: str, raw: bytes) -> bytes:
        content = raw + tenant.encode("utf-8", "backslashreplace")
        return hmac.digest(self._key, content, "sha256")[:_SIGNATURE_BYTES]
