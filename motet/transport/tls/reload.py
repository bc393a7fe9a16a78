"""Certificates that are read again while the process runs."""

from __future__ import annotations

import asyncio
import logging
from types import TracebackType
from typing import Any, Self

import grpc

from motet.core import metrics
from motet.core.errors import SettingsError
from motet.core.logs.audit import AUDIT
from motet.transport.tls.certificates import TlsFiles

RELOAD_INTERVAL = 1.0
"""Seconds between two looks at the files."""

log = logging.getLogger(__name__)


class ReloadedCertificates:
    """The last valid contents of `TlsFiles`. `async with` reads the files again every `interval` seconds.

    `authorities_name` is the label of the authorities' expiry metric: client_ca of a listener, ca of a channel. The
    files are compared by their contents, because a replaced file may have the size and the time of the old one. New
    contents that are not valid are logged once and not used, for example a new certificate whose key is not written
    yet. Connections that are open keep their certificates.

    Raises `SettingsError` if the first contents are not valid, see `TlsFiles`.
    """

    def __init__(self, files: TlsFiles, authorities_name: str, interval: float = RELOAD_INTERVAL) -> None:
        self._files = files
        self._authorities_name = authorities_name
        self._interval = interval
        self._contents = files.read()
        self._refusal = ""
        self.current = files.parse(self._contents)
        """The certificates for new connections."""
        files.warn_about_permissions()
        self._export_expiry()

    @property
    def has_authorities(self) -> bool:
        """True if the certificate of the other side is verified."""
        return self._files.authorities is not None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._task.cancel()

    def server_credentials(self) -> grpc.ServerCredentials:
        """Return credentials of a listener. Each new connection uses the certificates that are current then.

        No TLS session is resumed if clients need a certificate, because a resumed session does not check it again.
        """
        used = self.current

        # The types of gRPC lack the None of an unchanged configuration.
        def fetch() -> Any:
            """Return the new configuration, or None if it is unchanged. gRPC calls this for each new connection."""
            nonlocal used
            # A new configuration has new keys for session tickets, so no client can resume an older session.
            if self.current is used and not self.has_authorities:
                return None
            used = self.current
            return used.server_configuration()

        return grpc.dynamic_ssl_server_credentials(used.server_configuration(), fetch, self.has_authorities)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            # A file may be on a network. The check of a key takes milliseconds.
            await asyncio.to_thread(self._reload)

    def _reload(self) -> None:
        try:
            contents = self._files.read()
            if contents == self._contents:
                return
            self._contents = contents
            self.current = self._files.parse(contents)
        except SettingsError as error:
            self._refuse(error)
        else:
            self._refusal = ""
            AUDIT.info("new certificates are in use for new connections")
            metrics.TLS_RELOADS.labels("used").inc()
            self._files.warn_about_permissions()
            self._export_expiry()

    def _refuse(self, error: SettingsError) -> None:
        """Log and count an error, unless it is the error of the last look: a missing file is an error every time."""
        if error.message != self._refusal:
            self._refusal = error.message
            log.warning("the old certificates stay in use: %s", error.message)
            metrics.TLS_RELOADS.labels("refused").inc()

    def _export_expiry(self) -> None:
        for name, expiry in (
            ("cert", self.current.chain_expiry),
            (self._authorities_name, self.current.authorities_expiry),
        ):
            if expiry is not None:
                metrics.TLS_CERTIFICATE_EXPIRY.labels(name).set(expiry)
