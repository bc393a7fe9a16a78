"""What the orchestrator service can be told, besides what an orchestrator can."""

from __future__ import annotations

from motet.core.errors import SettingsError
from orchestrator.settings import Addresses, OrchestratorSettings
from services.settings import ServiceSettings


class OrchestratorServiceSettings(ServiceSettings, OrchestratorSettings):
    """The environment's `MOTET_*`, and the command line over it: a service's settings and an orchestrator's."""


def addresses_of(pairs: list[str] | None) -> dict[str, Addresses] | None:
    """`["shape=host:1"]` as a mapping; a modality that comes again has several replicas. None stays None.

    Raises `SettingsError` for anything else.
    """
    if pairs is None:
        return None
    found: dict[str, list[str]] = {}
    for modality, _, address in (pair.partition("=") for pair in pairs):
        if not (modality and address):
            raise SettingsError(f"--decoder takes MODALITY=HOST:PORT, not {' '.join(pairs)}")
        found.setdefault(modality, []).append(address)
    return {modality: tuple(several) if several[1:] else several[0] for modality, several in found.items()}
