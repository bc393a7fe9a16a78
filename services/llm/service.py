"""The language model service, put together."""

from __future__ import annotations

from typing import Any

from motet.core.bundle import Manifest
from services.llm.servicer import LanguageModelServicer
from services.llm.settings import LanguageModelSettings
from services.serve import Service, worker_service
from services.settings import settings_of


def language_model_service(given: dict[str, Any]) -> Service:
    """The service, from the environment and what was given. Raises `SettingsError`."""
    settings = settings_of(LanguageModelSettings, given)
    return worker_service(
        "language model",
        settings.listen,
        settings,
        _parts,
        lambda factory: LanguageModelServicer(factory.language_model()),
        settings.budget,
    )


def _parts(manifest: Manifest) -> tuple[str, ...]:
    entry = manifest.language_model
    return (entry.path, entry.projections, *([entry.lora] if entry.lora else []))
