"""The encoder service, put together."""

from __future__ import annotations

from typing import Any

from services.encoder.servicer import EncoderServicer
from services.encoder.settings import EncoderSettings
from services.serve import Service, worker_service
from services.settings import settings_of


def encoder_service(given: dict[str, Any]) -> Service:
    """The service, from the environment and what was given. Raises `SettingsError`."""
    settings = settings_of(EncoderSettings, given)
    return worker_service(
        "encoder",
        settings.listen,
        settings,
        lambda manifest: (manifest.encoder.path,),
        lambda factory: EncoderServicer(factory.encoder()),
    )
