"""The certificates of one deployment, for `motet up --tls` and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from services.up.certificate_authority import CertificateAuthority


class DeploymentCertificates:
    """An authority, and a certificate with the role of each service, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._authority = CertificateAuthority(folder)
        self._roles: dict[str, str] = {}

    @property
    def authority(self) -> Path:
        """The certificate of the authority."""
        return self._authority.certificate

    def worker_settings(self, name: str, role: str) -> Mapping[str, str]:
        """Return the TLS settings of a worker. It accepts only callers with a certificate of the authority."""
        return {**self._own_settings(name, role), "tls_client_ca": str(self.authority)}

    def orchestrator_settings(self) -> Mapping[str, str]:
        """Return the TLS settings of the orchestrator. Its callers need no certificate. It shows its own to workers."""
        return {**self._own_settings("orchestrator", "orchestrator"), "tls_ca": str(self.authority)}

    def replace(self) -> None:
        """Replace the certificate and the key of each service by new ones."""
        for name, role in self._roles.items():
            self._authority.issue(name, role)

    def _own_settings(self, name: str, role: str) -> Mapping[str, str]:
        name = name.replace(" ", "-")
        self._roles[name] = role
        pair = self._authority.issue(name, role)
        return {"tls_cert": str(pair.certificate), "tls_key": str(pair.key)}
