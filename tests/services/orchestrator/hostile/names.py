"""Crafted names of resources, and page tokens."""

from __future__ import annotations

import base64

HEX = b"0123456789abcdef0123456789abcdef"


def names(collection: str, *others: str) -> list[bytes]:
    """Return values for every place that takes the name of a resource of a collection. `others` are names of others."""
    prefix = collection.encode()
    ids = [
        b"",
        b"/",
        b".",
        b"..",
        b"../" + HEX,
        b"*",
        b"-",
        b"--",
        HEX + b"/",
        HEX + b"/..",
        HEX + b"\n",
        HEX + b"\0",
        HEX + b" ",
        HEX + b"?a=1",
        HEX + b"#a",
        HEX + b":cancel",
        HEX + b"@1",
        HEX.upper(),
        HEX + b",a",
        b"%30" + HEX,
        b"a" * 63,
        b"a" * 64,
        b"a" * 9000,
        b"\xff" + HEX,
        "\u0430".encode() + HEX[1:],
        b"0" * 32,
        HEX[:31],
        *(bytes(other.partition("/")[2], "ascii")[:-1] for other in others),
    ]
    shapes = [
        prefix,
        prefix[:-1] + b"/" + HEX,
        prefix.upper() + b"/" + HEX,
        b"/" + prefix + b"/" + HEX,
        b" " + prefix + b"/" + HEX,
        b"\n" + prefix + b"/" + HEX,
        b"models/" + HEX,
        b"//motet/" + prefix + b"/" + HEX,
        prefix + b"//" + HEX,
        prefix + b"\\" + HEX,
        prefix + b"/" + HEX + b"/" + prefix + b"/" + HEX,
        prefix + b"\0/" + HEX,
        HEX,
    ]
    return [*(prefix + b"/" + each for each in ids), *shapes, *map(str.encode, others)]


def page_tokens(token: str, other: str) -> list[bytes]:
    """Return altered forms of a tenant's page token, and the token of another tenant."""
    raw = base64.urlsafe_b64decode(token)
    return [
        other.encode(),
        *(token[:size].encode() for size in range(1, len(token), 3)),
        *(token.encode() + tail for tail in (b"A", b"=", b"==", b"AAAA", b"\n", b"\0", b" ", b"!!!!", token.encode())),
        *(head + token.encode() for head in (b"A", b"AAAA", b"\n", b" ", b"!")),
        token[:4].encode() + b"\n" + token[4:].encode(),
        token[:4].encode() + b"*" + token[4:].encode(),
        token.swapcase().encode(),
        token[::-1].encode(),
        *(base64.urlsafe_b64encode(_flipped(raw, bit)) for bit in range(0, 8 * len(raw), 7)),
        base64.urlsafe_b64encode(raw[8:] + raw[:8]),
        base64.urlsafe_b64encode(bytes(16)),
        base64.urlsafe_b64encode(b"\xff" * 16),
        base64.urlsafe_b64encode(raw + bytes(8)),
        base64.urlsafe_b64encode(raw[:8]),
        raw.hex().encode(),
    ]


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
