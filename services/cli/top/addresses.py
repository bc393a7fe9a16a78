"""The endpoints at addresses that a caller names."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from motet.core.errors import SettingsError
from services.cli.top.endpoint import MetricsEndpoint
from services.cli.top.http import http_endpoint


class FixedEndpoints:
    """The endpoints at addresses, with TLS if there is a context. Raises `SettingsError` for a wrong address."""

    def __init__(self, addresses: Sequence[str], tls: ssl.SSLContext | None = None) -> None:
        # A repeated address would count twice.
        self._endpoints = [http_endpoint(address, address, tls) for address in dict.fromkeys(addresses)]

    async def endpoints(self) -> Sequence[MetricsEndpoint]:
        """Return the endpoints."""
        return self._endpoints


def tls_context_of(authorities: Path | None, certificate: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Return the TLS context of PEM files, or None without files. Raises `SettingsError` as `tls_context`.

    A certificate without authorities is refused, because it would not be used.
    """
    # It imports grpc, which takes half a second, also for --help.
    from motet.client.credentials import tls_context

    if authorities is not None:
        return tls_context(authorities, certificate, key)
    if certificate is not None or key is not None:
        raise SettingsError("a client certificate needs TLS: set --tls-ca, too")
    return None
