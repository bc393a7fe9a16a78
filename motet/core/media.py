"""One encoded media file in memory."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Media:
    """An encoded media file and its type.

    `media_type` is an IANA media type (RFC 6838). "" means unknown: the type is then detected from the bytes.
    """

    media_type: str
    data: bytes

    @property
    def sha256(self) -> bytes:
        """The SHA-256 digest of the bytes, 32 bytes long. The same prompt and seed reproduce the same digest."""
        return sha256(self.data).digest()
