"""The public keys of an identity provider, from a file or from a URL that the operator names."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import logging
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from typing import Any, Protocol
from urllib.parse import urlsplit

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from motet.core.clock import now
from motet.core.errors import SettingsError
from motet.core.files.reloaded import Reloaded
from motet.core.files.reloaded_file import ReloadedFile
from motet.core.logs.audit import AUDIT
from motet.core.telemetry.families import process_metrics

ALGORITHMS = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"})
"""The algorithms of tokens that are accepted. All are asymmetric, so a public key can sign no token."""

MAX_KEYS = 256
_MAX_BYTES = 2**20
_TIMEOUT = 5.0
"""Maximum time of one fetch, and of each silence in it, in seconds."""
_MAX_WAIT = 2 * _TIMEOUT
"""Maximum time that a call waits for a fetch, in seconds."""
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

    Keys for encryption, symmetric keys, and keys without an id are left out. Two different keys with one id are an
    error, because a token names only the id.
    """
    try:
        listed = json.loads(data)["keys"]
        if not isinstance(listed, list) or len(listed) > MAX_KEYS:
            raise ValueError
    except (ValueError, KeyError, TypeError, RecursionError):
        message = f'{label} is not a JSON Web Key Set: it must be {{"keys": [...]}} with at most {MAX_KEYS} keys'
        raise SettingsError(message) from None
    keys: dict[str, PyJWK] = {}
    for jwk in listed:
        key = _key_of(jwk)
        if key is not None and keys.setdefault(jwk["kid"], key).key != key.key:
            raise SettingsError(f"{label} has two different keys with the kid {jwk['kid'][:64]!r}; give each its own")
    if not keys:
        raise SettingsError(
            f"{label} has no public key that can verify a token: each needs a kid, and kty RSA, EC or OKP"
        )
    return keys


def _key_of(jwk: Any) -> PyJWK | None:
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str) or jwk.get("use", "sig") != "sig":
        return None
    uses = jwk.get("key_ops", ["verify"])
    if not isinstance(uses, list) or "verify" not in uses:
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


class FetchedKeys(Reloaded[bytes, Keys]):
    """The keys at a URL. `async with` fetches them again every `interval` seconds, and `find` for an unknown key.

    A fetch that fails is logged and counted, and the old keys stay in use. The constructor fetches the keys and waits
    for them, so create an object in a thread. It raises `SettingsError` if the keys cannot be fetched. `min_interval`
    is the minimum time between two fetches for unknown keys, in seconds.
    """

    def __init__(
        self, url: str, interval: float = REFRESH_INTERVAL, min_interval: float = MIN_REFRESH_INTERVAL
    ) -> None:
        check_url(url)
        self._url = url
        self._min_interval = min_interval
        self._fetched_at = 0.0
        super().__init__(interval)
        # From 0, because an increase from nothing is none for Prometheus.
        process_metrics.ACCESS_RELOADS.labels("jwks", "refused")

    async def find(self, key_id: str) -> PyJWK | None:
        """Return the key with an id. Fetch the keys again if it is unknown, but not too often."""
        if key_id not in self.current and (self.refreshing or now() - self._fetched_at >= self._min_interval):
            # The fetch goes on without this call, and the next call finds the key.
            with suppress(TimeoutError):
                async with asyncio.timeout(_MAX_WAIT):
                    await self.refresh()
        return self.current.get(key_id)

    def _read(self) -> bytes:
        self._fetched_at = now()
        try:
            return _read_url(self._url)
        except (OSError, ValueError, HTTPException) as error:
            raise SettingsError(f"the keys at {self._url} cannot be fetched: {error}") from error

    def _parse(self, contents: bytes) -> Keys:
        return parse_keys(contents, self._url)

    def _report_used(self) -> None:
        AUDIT.info("new keys of the identity provider are in use", extra={"host": urlsplit(self._url).hostname})
        process_metrics.ACCESS_RELOADS.labels("jwks", "used").inc()

    def _report_refused(self, error: SettingsError) -> None:
        _LOG.error("the old keys of the identity provider stay in use: %s", error.message)
        process_metrics.ACCESS_RELOADS.labels("jwks", "refused").inc()


def check_url(url: str) -> None:
    """Raise `SettingsError` unless a URL begins with https or is of this machine, and for a URL with a password."""
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise SettingsError(
            "the URL of the public keys has a user or a password, which log lines would show: remove it"
        )
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
    end, data = now() + _TIMEOUT, bytearray()
    try:
        response = opener.open(url, timeout=_TIMEOUT)
    except urllib.error.HTTPError as refusal:
        # It is a response, too.
        refusal.close()
        raise ValueError(f"the status is {refusal.code}") from None
    with response:
        # `read` would wait for a server that sends a byte now and then.
        while chunk := response.read1(_MAX_BYTES + 1 - len(data)):
            data += chunk
            if len(data) > _MAX_BYTES:
                raise ValueError(f"the response has more than {_MAX_BYTES} bytes")
            if now() > end:
                raise ValueError(f"the response takes longer than {_TIMEOUT:g} s")
    return bytes(data)
