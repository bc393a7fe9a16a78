"""Certificates that are read again while the process runs."""

from __future__ import annotations

import logging
from typing import Any

import grpc

from motet.core.errors import SettingsError
from motet.core.files.reloaded import RELOAD_INTERVAL, Reloaded
from motet.core.logs.audit import AUDIT
from motet.core.telemetry.families import process_metrics
from motet.transport.tls.certificates import Certificates, TlsFiles

log = logging.getLogger(__name__)


class ReloadedCertificates(Reloaded[tuple[bytes, ...], Certificates]):
    """The last valid contents of `TlsFiles`, for new connections. Open connections keep their certificates.

    `authorities_name` is the label of the authorities' expiry metric: client_ca of a listener, ca of a channel.
    Contents are not valid, for example, while the key of a new certificate is not written yet.
    """

    def __init__(self, files: TlsFiles, authorities_name: str, interval: float = RELOAD_INTERVAL) -> None:
        self._files = files
        self._authorities_name = authorities_name
        super().__init__(interval)
        files.warn_about_permissions()
        self._export_expiry()
        # From 0, because an increase from nothing is none for Prometheus.
        process_metrics.TLS_RELOADS.labels("refused")

    @property
    def has_authorities(self) -> bool:
        """True if the certificate of the other side is verified."""
        return self._files.authorities is not None

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

    def _read(self) -> tuple[bytes, ...]:
        return self._files.read()

    def _parse(self, contents: tuple[bytes, ...]) -> Certificates:
        return self._files.parse(contents)

    def _report_used(self) -> None:
        AUDIT.info("new certificates are in use for new connections")
        process_metrics.TLS_RELOADS.labels("used").inc()
        self._files.warn_about_permissions()
        self._export_expiry()

    def _report_refused(self, error: SettingsError) -> None:
        log.warning("the old certificates stay in use: %s", error.message)
        process_metrics.TLS_RELOADS.labels("refused").inc()

    def _export_expiry(self) -> None:
        for name, expiry in (
            ("cert", self.current.chain_expiry),
            (self._authorities_name, self.current.authorities_expiry),
        ):
            if expiry is not None:
                process_metrics.TLS_CERTIFICATE_EXPIRY.labels(name).set(expiry)
