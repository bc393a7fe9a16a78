"""Bearer tokens: API keys, and JSON Web Tokens of an identity provider."""

from __future__ import annotations

from motet.core.caller import Caller
from motet.transport.access.api_key import PREFIX
from motet.transport.access.api_keys import ApiKeys
from motet.transport.access.credentials import Credentials
from motet.transport.access.json_web_tokens import JsonWebTokens
from motet.transport.access.outcome import Outcome, RefusedError


class BearerTokens:
    """Authenticates calls that have a bearer token: an API key by its prefix, and a JSON Web Token otherwise.

    A kind of token that is None is refused.
    """

    kind = "bearer"

    def __init__(self, keys: ApiKeys | None = None, tokens: JsonWebTokens | None = None) -> None:
        self._keys = keys
        self._tokens = tokens

    async def authenticate(self, credentials: Credentials) -> Caller | None:
        """Return the caller of a bearer token, or None if the call has none. Raises `RefusedError`."""
        token = credentials.bearer_token()
        if token is None:
            return None
        if token.startswith(PREFIX):
            if self._keys is not None:
                return self._keys.caller_of(token)
        elif self._tokens is not None:
            return await self._tokens.caller_of(token)
        raise RefusedError(Outcome.MALFORMED)
