"""Settings of the orchestrator service."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from motet.core.errors import SettingsError
from orchestrator.settings import Addresses, Bytes, Count, OrchestratorSettings
from services.orchestrator.access_settings import AccessSettings
from services.orchestrator.uploads import UploadLimits
from services.settings import ADDRESS, FILE, ServiceSettings, check_pair

_DEFAULT = UploadLimits()


class OrchestratorServiceSettings(AccessSettings, ServiceSettings, OrchestratorSettings):
    """The settings of a service and of the orchestrator. The command line overrides the environment's `MOTET_*`."""

    max_uploads: Count = Field(
        default=_DEFAULT.uploads,
        description="Maximum concurrent uploads. One tenant, or one connection without credentials, may have half. "
        "Uploads beyond it are refused at once.",
    )
    max_upload_bytes: Bytes = Field(
        default=_DEFAULT.bytes,
        description="Maximum size of all uploads in progress, in bytes. One tenant, or one connection without "
        "credentials, may have half of it.",
    )

    scaler_listen: str | None = Field(
        default=None,
        description="Address of KEDA's external scaler, which reports the demand of each pool of workers. By default, "
        "there is none. Port 0 takes a free port.",
        json_schema_extra=ADDRESS,
    )
    scaler_client_ca: Path | None = Field(
        default=None,
        description="PEM file of the authorities of the certificate of KEDA, which has the role scaler. By default, "
        "--tls-client-ca.",
        json_schema_extra=FILE,
    )

    quotas: Path | None = Field(
        default=None,
        description="YAML file of the limits of tenants, by the class of their credentials. By default, no limits. "
        "Changes take effect within seconds.",
        json_schema_extra=FILE,
    )

    tls_ca: Path | None = Field(
        default=None,
        description="PEM file of the authorities of workers' certificates. With it, connections to workers use TLS.",
        json_schema_extra=FILE,
    )
    tls_worker_cert: Path | None = Field(
        default=None,
        description="PEM file of the certificate for workers that require one. By default, --tls-cert.",
        json_schema_extra=FILE,
    )
    tls_worker_key: Path | None = Field(
        default=None, description="PEM file of the private key of --tls-worker-cert.", json_schema_extra=FILE
    )

    @model_validator(mode="after")
    def _check_worker_tls(self) -> Self:
        check_pair("--tls-worker-cert", self.tls_worker_cert, "--tls-worker-key", self.tls_worker_key)
        if self.tls_worker_cert is not None and self.tls_ca is None:
            raise ValueError("--tls-worker-cert needs --tls-ca: set it, too")
        return self

    @model_validator(mode="after")
    def _check_scaler(self) -> Self:
        if self.scaler_client_ca is not None:
            for option, value in (("--scaler-listen", self.scaler_listen), ("--tls-cert", self.tls_cert)):
                if value is None:
                    raise ValueError(f"--scaler-client-ca needs {option}: set it, too")
        return self

    @property
    def upload_limits(self) -> UploadLimits:
        """The limits of uploads."""
        return UploadLimits(self.max_uploads, self.max_upload_bytes)


def addresses_of(pairs: list[str] | None) -> dict[str, Addresses] | None:
    """Return pairs such as `["shape=host:1"]` as a mapping, or None for None.

    A modality in several pairs has several replicas. Raises `SettingsError` for a pair of another form.
    """
    if pairs is None:
        return None
    addresses: dict[str, list[str]] = {}
    for modality, _, address in (pair.partition("=") for pair in pairs):
        if not (modality and address):
            raise SettingsError(f"--decoder takes MODALITY=HOST:PORT, not {' '.join(pairs)}")
        addresses.setdefault(modality, []).append(address)
    return {modality: tuple(replicas) if replicas[1:] else replicas[0] for modality, replicas in addresses.items()}
