"""Settings of the orchestrator service."""

from __future__ import annotations

from motet.core.errors import SettingsError
from orchestrator.settings import Addresses, OrchestratorSettings
from services.settings import ServiceSettings


class OrchestratorServiceSettings(ServiceSettings, OrchestratorSettings):
    """The settings of a service and of the orchestrator. The command line overrides the environment's `MOTET_*`."""


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
