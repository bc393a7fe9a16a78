"""JSON Web Tokens of an identity provider (OpenID Connect)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, NamedTuple

import jwt
from jwt.exceptions import ExpiredSignatureError, InvalidAlgorithmError, InvalidSignatureError, PyJWTError

from motet.caching.lru import IDLE_AFTER, LruCache
from motet.core.caller import Caller
from motet.transport.access.json_web_keys import ALGORITHMS, KeySource
from motet.transport.access.outcome import Outcome, RefusedError
from motet.transport.access.token_claims import DEFAULT_CLAIMS, TokenClaims

_OPTIONS: Any = {
    "require": ["exp", "iss", "aud"],
    "verify_signature": True,
    "verify_exp": True,
    "verify_nbf": True,
    "verify_iat": True,
    "verify_aud": True,
    "verify_iss": True,
    # A subject may be any text if it is not the tenant. The tenant is checked below.
    "verify_sub": False,
    "enforce_minimum_key_length": True,
}


_MAX_VERIFIED = 1024
"""Maximum number of tokens that are not verified again at their next call."""


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The rules of tokens: their issuer and audience, and the claims that give permissions.

    `leeway` is the accepted difference between the clocks of the issuer and of this machine, in seconds.
    """

    issuer: str
    audience: str
    claims: TokenClaims = DEFAULT_CLAIMS
    leeway: float = 30.0


class _Verified(NamedTuple):
    """A token that obeyed all rules: the id of its key, its key, its caller, and the time at which it expires."""

    key_id: str
    key: jwt.PyJWK
    caller: Caller
    expire_time: float


class JsonWebTokens:
    """Authenticates signed tokens. Only `keys` verify them: no key or URL in a token is used.

    The signature of a token is verified once, until the token expires or its key is no longer in use. Only digests of
    tokens are kept.
    """

    def __init__(self, rules: TokenRules, keys: KeySource) -> None:
        self._rules = rules
        self._keys = keys
        self._verified: LruCache[bytes, _Verified] = LruCache(_MAX_VERIFIED, _MAX_VERIFIED, IDLE_AFTER)
        """By digest of the token."""

    async def caller_of(self, token: str) -> Caller:
        """Return the caller of a token. Raises `RefusedError` for a token that breaks a rule."""
        digest = sha256(token.encode(errors="surrogateescape")).digest()
        verified = self._verified.get(digest)
        if verified is None or not await self._is_valid(verified):
            verified = await self._verify(token)
            self._verified.put(digest, verified, 1, verified.caller.tenant)
        return verified.caller

    async def _is_valid(self, verified: _Verified) -> bool:
        return time.time() < verified.expire_time and await self._keys.find(verified.key_id) is verified.key

    async def _verify(self, token: str) -> _Verified:
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, ValueError, RecursionError):
            raise RefusedError(Outcome.MALFORMED) from None
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or "crit" in header:
            raise RefusedError(Outcome.ALGORITHM)
        key_id = header.get("kid")
        key = await self._keys.find(key_id) if isinstance(key_id, str) else None
        if not isinstance(key_id, str) or key is None:
            raise RefusedError(Outcome.UNKNOWN_KEY)
        claims = _verified(token, key, self._rules)
        try:
            caller = self._rules.claims.caller_of(claims)
            return _Verified(key_id, key, caller, float(claims["exp"]) + self._rules.leeway)
        except (ValueError, TypeError, OverflowError):
            raise RefusedError(Outcome.CLAIMS) from None


def _verified(token: str, key: jwt.PyJWK, rules: TokenRules) -> Mapping[str, Any]:
    """Return the claims of a token whose signature, times, issuer and audience are right."""
    try:
        claims: Mapping[str, Any] = jwt.decode(
            token,
            key,
            algorithms=sorted(ALGORITHMS),
            audience=rules.audience,
            issuer=rules.issuer,
            leeway=rules.leeway,
            options=_OPTIONS,
        )
    except ExpiredSignatureError:
        raise RefusedError(Outcome.EXPIRED) from None
    except InvalidAlgorithmError:
        raise RefusedError(Outcome.ALGORITHM) from None
    except InvalidSignatureError:
        raise RefusedError(Outcome.SIGNATURE) from None
    except (PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        raise RefusedError(Outcome.CLAIMS) from None
    return claims
