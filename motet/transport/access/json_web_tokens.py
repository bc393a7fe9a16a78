"""JSON Web Tokens of an identity provider (OpenID Connect)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.exceptions import ExpiredSignatureError, InvalidAlgorithmError, InvalidSignatureError, PyJWTError

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


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The rules of tokens: their issuer and audience, and the claims that give permissions.

    `leeway` is the accepted difference between the clocks of the issuer and of this machine, in seconds.
    """

    issuer: str
    audience: str
    claims: TokenClaims = DEFAULT_CLAIMS
    leeway: float = 30.0


class JsonWebTokens:
    """Authenticates signed tokens. Only `keys` verify them: no key or URL in a token is used."""

    def __init__(self, rules: TokenRules, keys: KeySource) -> None:
        self._rules = rules
        self._keys = keys

    async def caller_of(self, token: str) -> Caller:
        """Return the caller of a token. Raises `RefusedError` for a token that breaks a rule."""
        try:
            header = jwt.get_unverified_header(token)
        except (PyJWTError, ValueError, RecursionError):
            raise RefusedError(Outcome.MALFORMED) from None
        algorithm = header.get("alg")
        if not isinstance(algorithm, str) or algorithm not in ALGORITHMS or "crit" in header:
            raise RefusedError(Outcome.ALGORITHM)
        key_id = header.get("kid")
        key = await self._keys.find(key_id) if isinstance(key_id, str) else None
        if key is None:
            raise RefusedError(Outcome.UNKNOWN_KEY)
        claims = _verified(token, key, self._rules)
        try:
            return self._rules.claims.caller_of(claims)
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
