"""Settings of the orchestrator service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from motet.core.errors import SettingsError
from orchestrator.settings import Addresses, Bytes, Count, OrchestratorSettings, Seconds
from services.orchestrator.uploads import UploadLimits
from services.settings import ServiceSettings

_DEFAULT = UploadLimits()

Rate = Annotated[float, Field(gt=0, le=2**50, allow_inf_nan=False)]


class OrchestratorServiceSettings(ServiceSettings, OrchestratorSettings):
    """The settings of a service and of the orchestrator. The command line overrides the environment's `MOTET_*`."""

    max_uploads: Count = Field(
        default=_DEFAULT.uploads,
        description="Maximum concurrent uploads. One connection may have half. Uploads beyond it are refused at once.",
    )
    max_upload_bytes: Bytes = Field(
        default=_DEFAULT.bytes,
        description="Maximum size of all uploads in progress, in bytes. One connection may have half of it.",
    )
    upload_silence: Seconds = Field(
        default=_DEFAULT.silence, description="Maximum time without a chunk of an upload, in seconds."
    )
    min_upload_rate: Rate = Field(
        default=_DEFAULT.min_rate, description="Minimum average speed of an upload, in bytes per second."
    )

    @property
    def upload_limits(self) -> UploadLimits:
        """The limits of uploads."""
        return UploadLimits(self.max_uploads, self.max_upload_bytes, self.upload_silence, self.min_upload_rate)


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
