"""One finished piece of media, as bytes."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256


@dataclass(frozen=True, slots=True)
class Media:
    """Encoded media and what they are.

    `media_type` is an IANA media type (RFC 6838); "" means unknown, to be found from the bytes.
    """

    media_type: str
    data: bytes

    @property
    def sha256(self) -> bytes:
        """The digest of the bytes, 32 bytes long: what the same prompt and seed must reproduce."""
        return sha256(self.data).digest()
