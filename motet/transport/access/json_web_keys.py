"""The public keys of an identity provider, from a file or from a URL that the operator names."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import urllib.request
from collections.abc import Mapping
from http.client import HTTPException
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from motet.core import metrics
from motet.core.clock import now
from motet.core.errors import SettingsError
from motet.transport.access.reloaded_file import ReloadedFile

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""The algorithms of tokens that are accepted. All are asymmetric, so a public key can sign no token."""

MAX_KEYS = 256
_MAX_BYTES = 2**20
_TIMEOUT = 5.0
"""Maximum time of one fetch, in seconds."""
REFRESH_INTERVAL = 600.0
"""Seconds between two fetches of a URL. A key that the provider withdrew is accepted for this time at most."""
MIN_REFRESH_INTERVAL = 30.0
"""Minimum time between two fetches for tokens with unknown keys, in seconds. Any caller can send such tokens."""

Keys = Mapping[str, PyJWK]
"""Public keys by their ids."""

_LOG = logging.getLogger(__name__)


class KeySource(Protocol):
    """A source of public keys."""

    async def find(self, key_id: str) -> PyJWK | None:
        """Return the key with an id, or None if the provider has no such key."""
        ...


def parse_keys(data: bytes, label: str) -> Keys:
    """Return the keys of a JSON Web Key Set that can verify signatures. Raises `SettingsError`.

    Keys for encryption, symmetric keys, and keys without an id are left out.
    """
    try:
        listed = json.loads(data)["keys"]
        if not isinstance(listed, list) or len(listed) > MAX_KEYS:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        message = f'{label} is not a JSON Web Key Set: it must be {{"keys": [...]}} with at most {MAX_KEYS} keys'
        raise SettingsError(message) from None
    keys = {jwk["kid"]: key for jwk in listed if (key := _key_of(jwk)) is not None}
    if not keys:
        raise SettingsError(
            f"{label} has no public key that can verify a token: each needs a kid, and kty RSA, EC or OKP"
        )
    return keys


def _key_of(jwk: Any) -> PyJWK | None:
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str) or jwk.get("use", "sig") != "sig":
        return None
    try:
        key = PyJWK(jwk)
    except (PyJWTError, ValueError, TypeError, AttributeError):
        return None
    return key if key.algorithm_name in ALGORITHMS else None


class FileKeys:
    """The keys in a file, which is read again when it changes."""

    def __init__(self, file: ReloadedFile[Keys]) -> None:
        self._file = file

    async def find(self, key_id: str) -> PyJWK | None:
        """Return the key with an id, or None."""
        return self._file.current.get(key_id)


class FetchedKeys:
    """The keys at a URL. `async with` fetches them, and again every `interval` seconds and for a token's unknown key.

    A fetch that fails is logged and counted, and the old keys stay in use. Entering raises `SettingsError` if the first
    fetch fails. `min_interval` is the minimum time between two fetches for unknown keys, in seconds.
    """

    def __init__(
        self, url: str, interval: float = REFRESH_INTERVAL, min_interval: float = MIN_REFRESH_INTERVAL
    ) -> None:
        check_url(url)
        self._url = url
        self._interval = interval
        self._min_interval = min_interval
        self._fetching = asyncio.Lock()
        self._fetched_at = 0.0
        self._keys: Keys = {}

    async def __aenter__(self) -> Self:
        await self._fetch()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()

    async def find(self, key_id: str) -> PyJWK | None:
        """Return the key with an id. Fetch the keys again if it is unknown, but not too often."""
        if key_id not in self._keys:
            async with self._fetching:
                if key_id not in self._keys and now() - self._fetched_at >= self._min_interval:
                    await self._refresh()
        return self._keys.get(key_id)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            async with self._fetching:
                await self._refresh()

    async def _refresh(self) -> None:
        try:
            await self._fetch()
        except SettingsError as error:
            _LOG.error("the old keys of the identity provider stay in use: %s", error.message)
            metrics.ACCESS_RELOADS.labels("jwks", "refused").inc()
        else:
            metrics.ACCESS_RELOADS.labels("jwks", "used").inc()

    async def _fetch(self) -> None:
        self._fetched_at = now()
        try:
            async with asyncio.timeout(2 * _TIMEOUT):
                data = await asyncio.to_thread(_read_url, self._url)
        except (OSError, ValueError, HTTPException) as error:
            raise SettingsError(f"the keys at {self._url} cannot be fetched: {error}") from error
        self._keys = await asyncio.to_thread(parse_keys, data, self._url)


def check_url(url: str) -> None:
    """Raise `SettingsError` unless a URL begins with https or is of this machine."""
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and _is_this_machine(parts.hostname or ""):
        return
    raise SettingsError(f"{url} must begin with https:// because anyone on the network could replace the keys")


def _is_this_machine(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect leads to an address that the operator did not name."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


def _read_url(url: str) -> bytes:
    # Proxies of the environment are used: the operator sets them for addresses outside.
    opener = urllib.request.build_opener(_NoRedirects)
    with opener.open(url, timeout=_TIMEOUT) as response:
        data: bytes = response.read(_MAX_BYTES + 1)
    if len(data) > _MAX_BYTES:
        raise ValueError(f"the response has more than {_MAX_BYTES} bytes")
    return data
