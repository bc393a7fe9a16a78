"""What the orchestrator service can be told, besides what an orchestrator can."""

from __future__ import annotations

from motet.core.errors import SettingsError
from orchestrator.settings import OrchestratorSettings
from services.settings import ServiceSettings


class GatewaySettings(ServiceSettings, OrchestratorSettings):
    """The environment's `MOTET_*`, and the command line over it: a service's settings and an orchestrator's."""


def addresses_of(pairs: list[str] | None) -> dict[str, str] | None:
    """`["shape=host:1"]` as a mapping; None stays None. Raises `SettingsError` for anything else."""
    if pairs is None:
        return None
    split = {modality: address for modality, _, address in (pair.partition("=") for pair in pairs)}
    if not all(modality and address for modality, address in split.items()):
        raise SettingsError(f"--decoder takes MODALITY=HOST:PORT, not {' '.join(pairs)}")
    return split
