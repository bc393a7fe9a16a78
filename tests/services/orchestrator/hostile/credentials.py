"""Crafted API keys and JSON Web Tokens."""

from __future__ import annotations

import base64
import json

from tests.transport.access.provider import Provider


def keys(key: str) -> list[bytes]:
    """Return altered forms of an API key."""
    text = key.encode()
    _, key_id, secret = text.split(b"_")
    return [
        *(text[:size] for size in (1, 6, 7, 18, 19, 20, 40, len(text) - 6, len(text) - 1)),
        *(text + tail for tail in (b"0", b" ", b"\t", b"\n", b"\r\n", b"\0", b"\x7f", b"=", b"," + text, text)),
        *(head + text for head in (b" ", b"\t", b"\n", b"\0", b"Bearer ", b"\xef\xbb\xbf")),
        text.upper(),
        text.swapcase(),
        text[::-1],
        text.replace(b"_", b"-"),
        b"motet_" + key_id + b"_" + secret[::-1],
        b"motet_" + key_id[::-1] + b"_" + secret,
        b"motet_" + b"0" * 12 + b"_" + secret,
        b"motet__" + secret,
        b"motet_" + key_id + b"_",
        b"motet_" + key_id + b"__" + secret,
        b"motet_" + "\u0430".encode() + key_id[1:] + b"_" + secret,
        b"motet_" + b"a" * 8000,
        b"motet_" + b"a" * 8187,
    ]


def tokens(provider: Provider) -> list[bytes]:
    """Return JSON Web Tokens with odd headers and claims. Their signatures are right, where they have one."""
    good = provider.token()
    head, claims, signature = good.split(".")
    deep = b"[" * 2000 + b"]" * 2000
    return [
        *(
            _json(header) + f".{claims}.{signature}".encode()
            for header in (
                {"alg": "none", "kid": "k1"},
                {"alg": "None", "kid": "k1"},
                {"alg": "HS256", "kid": "k1"},
                {"alg": "ES256K", "kid": "k1"},
                {"alg": ["ES256"], "kid": "k1"},
                {"alg": {"a": 1}, "kid": "k1"},
                {"alg": None, "kid": "k1"},
                {"alg": 1e308, "kid": "k1"},
                {"kid": "k1"},
                {"alg": "ES256"},
                {"alg": "ES256", "kid": None},
                {"alg": "ES256", "kid": ["k1"]},
                {"alg": "ES256", "kid": "../../../../dev/null"},
                {"alg": "ES256", "kid": "k1\0"},
                {"alg": "ES256", "kid": "k1' OR '1'='1"},
                {"alg": "ES256", "kid": "\ud800"},
                {"alg": "ES256", "kid": "k" * 4000},
                {"alg": "ES256", "kid": "k1", "crit": ["exp"]},
                {"alg": "ES256", "kid": "k1", "crit": []},
                {"alg": "ES256", "kid": "k1", "b64": False, "crit": ["b64"]},
                {"alg": "ES256", "kid": "k1", "jku": "https://evil.example/keys"},
                {"alg": "ES256", "kid": "k1", "zip": "DEF"},
                {"alg": "ES256", "kid": "k1", "a": "a" * 5000},
                [],
                "ES256",
                None,
                {},
            )
        ),
        *(_encoded(header) + f".{claims}.{signature}".encode() for header in (deep, b"{", b"", b"\xff\xfe", b"{}" * 9)),
        *(f"{head}.".encode() + _encoded(body) + f".{signature}".encode() for body in (deep, b"{", b"", b"1", b"\0")),
        f"{head}.{claims}.".encode(),
        f"{head}.{claims}".encode(),
        f"{head}..{signature}".encode(),
        f".{claims}.{signature}".encode(),
        b"..",
        b".",
        b"." * 8000,
        f"{good}.{signature}".encode(),
        f"{good}.a.b".encode(),
        good.encode() + b"\n",
        good.encode() + b"\0",
        good.encode() + b"=",
        good[:-1].encode(),
        good.encode() + b"A" * 8192,
        f"{head}.{claims[:-2]}.{signature}".encode(),
        *(
            provider.token(**odd).encode()
            for odd in (
                {"sub": "a\nb"},
                {"sub": "a\x1b[2J"},
                {"sub": "a\u202eb"},
                {"sub": "\ud800"},
                {"sub": "a" * 65},
                {"sub": ""},
                {"sub": 7},
                {"sub": ["acme"]},
                {"sub": {"a": "acme"}},
                {"sub": True},
                {"exp": "soon"},
                {"exp": 10**400},
                {"exp": -1},
                {"exp": []},
                {"nbf": "later"},
                {"nbf": 10**400},
                {"iat": "\ud800"},
                {"aud": {"motet": 1}},
                {"aud": [["motet"]]},
                {"aud": ["\ud800"]},
                {"iss": "https://issuer.example\n"},
            )
        ),
        provider.token(headers={"crit": ["exp"]}).encode(),
    ]


def _json(value: object) -> bytes:
    return _encoded(json.dumps(value).encode())


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
