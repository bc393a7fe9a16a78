"""The form of an API key: `motet_`, an id that is no secret, `_`, a secret of 256 bits, and a checksum.

The prefix and the checksum let scanners find keys in repositories and logs without false alarms.
"""

from __future__ import annotations

import re
import secrets
import string
from hashlib import sha256
from zlib import crc32

PREFIX = "motet_"

_ID_CHARACTERS = string.ascii_lowercase + string.digits
_SECRET_CHARACTERS = string.ascii_letters + string.digits
_ID_LENGTH = 12
_SECRET_LENGTH = 43
"""Number of characters of a secret: 62 to the power of 43 is more than 2 to the power of 256."""
_CHECKSUM_LENGTH = 6

_BASE = len(_SECRET_CHARACTERS)

KEY_ID = re.compile(f"[a-z0-9]{{{_ID_LENGTH}}}")
_KEY = re.compile(f"{PREFIX}({KEY_ID.pattern})_[A-Za-z0-9]{{{_SECRET_LENGTH + _CHECKSUM_LENGTH}}}")


def create_key() -> str:
    """Return a new random key."""
    key_id = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(_ID_LENGTH))
    secret = "".join(secrets.choice(_SECRET_CHARACTERS) for _ in range(_SECRET_LENGTH))
    unchecked = f"{PREFIX}{key_id}_{secret}"
    return unchecked + _checksum(unchecked)


def key_id_of(text: str) -> str | None:
    """Return the id of a key, or None if the text has not the form and the checksum of a key."""
    found = _KEY.fullmatch(text)
    return found[1] if found and _checksum(text[:-_CHECKSUM_LENGTH]) == text[-_CHECKSUM_LENGTH:] else None


def digest_of(key: str) -> bytes:
    """Return the SHA-256 digest of a key. A random secret of 256 bits needs no slow hash: it cannot be guessed."""
    return sha256(key.encode()).digest()


def _checksum(text: str) -> str:
    # Every call of a caller computes it, so the loop calls no function.
    value, digits = crc32(text.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        digits += _SECRET_CHARACTERS[value % _BASE]
        value //= _BASE
    return digits
