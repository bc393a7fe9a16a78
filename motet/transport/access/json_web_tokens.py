"""JSON Web Tokens of an identity provider (OpenID Connect)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from jwt.exceptions import ExpiredSignatureError, InvalidAlgorithmError, InvalidSignatureError, PyJWTError

from motet.core.caller import Caller, Role
from motet.transport.access.json_web_keys import ALGORITHMS, KeySource
from motet.transport.access.outcome import Outcome, RefusedError

ROLE_PREFIX = "motet:"
"""The beginning of each role in a token, such as `motet:generate`. Other applications may use the same claim."""

_ROLES = {f"{ROLE_PREFIX}{role}": role for role in (Role.GENERATE, Role.READ, Role.OPERATE)}

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
    """The rules of tokens: their issuer and audience, and the claims that name the tenant and the roles.

    `roles_claim` holds a list, or a text with spaces as in `scope`. `leeway` is the accepted difference between the
    clocks of the issuer and of this machine, in seconds.
    """

    issuer: str
    audience: str
    tenant_claim: str = "sub"
    roles_claim: str = "scope"
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
        return self._caller(_verified(token, key, self._rules))

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        tenant = claims.get(self._rules.tenant_claim)
        if not isinstance(tenant, str) or not tenant:
            raise RefusedError(Outcome.CLAIMS)
        try:
            return Caller(
                tenant,
                _roles_of(claims.get(self._rules.roles_claim)),
                expire_time=float(claims["exp"]),
                credential="token",
            )
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


def _roles_of(claim: Any) -> frozenset[Role]:
    """Return the roles in a claim. Other values, which may be of other applications, give no role."""
    values = claim.split() if isinstance(claim, str) else claim if isinstance(claim, list) else ()
    return frozenset(_ROLES[value] for value in values if isinstance(value, str) and value in _ROLES)
