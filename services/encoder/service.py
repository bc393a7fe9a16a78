"""The encoder service."""

from __future__ import annotations

from typing import Any

from motet.core.telemetry.service_kind import ServiceKind
from services.encoder.servicer import EncoderServicer
from services.encoder.settings import EncoderSettings
from services.serve import Service, worker_service
from services.settings import settings_of


def encoder_service(options: dict[str, Any]) -> Service:
    """Return the service with settings from options and the environment. Raises `SettingsError`."""
    settings = settings_of(EncoderSettings, options)
    return worker_service(
        ServiceKind.ENCODER,
        "encoder",
        settings.listen,
        settings,
        lambda manifest: (manifest.encoder.path,),
        lambda factory: EncoderServicer(factory.encoder()),
        decodes_media=lambda manifest: True,
    )
