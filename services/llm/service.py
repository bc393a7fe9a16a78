"""The language model service."""

from __future__ import annotations

from typing import Any

from motet.core.bundle import Manifest
from motet.core.telemetry.service_kind import ServiceKind
from services.llm.servicer import LanguageModelServicer
from services.llm.settings import LanguageModelSettings
from services.serve import Service, worker_service
from services.settings import settings_of


def language_model_service(options: dict[str, Any]) -> Service:
    """Return the service with settings from options and the environment. Raises `SettingsError`."""
    settings = settings_of(LanguageModelSettings, options)
    return worker_service(
        ServiceKind.LANGUAGE_MODEL,
        "language model",
        settings.listen,
        settings,
        _parts,
        lambda factory: LanguageModelServicer(factory.language_model()),
        settings.engine_config,
    )


def _parts(manifest: Manifest) -> tuple[str, ...]:
    entry = manifest.language_model
    return (entry.path, entry.projections, *([entry.lora] if entry.lora else []))
