"""A decoder service, put together."""

from __future__ import annotations

from typing import Any

from motet.core.bundle import Manifest
from services.decoder.servicer import DecoderServicer
from services.decoder.settings import DecoderSettings
from services.serve import Service, worker_service
from services.settings import settings_of


def decoder_service(given: dict[str, Any]) -> Service:
    """The service, from the environment and what was given. Raises `SettingsError`.

    Loading raises `NotFoundError` for a modality that the bundle has no decoder for.
    """
    settings = settings_of(DecoderSettings, given)

    def parts(manifest: Manifest) -> tuple[str, ...]:
        entry = manifest.decoder_of(settings.modality)
        return (entry.path, *entry.shared.values())

    return worker_service(
        f"{settings.modality} decoder",
        settings.listen,
        settings,
        parts,
        lambda factory: DecoderServicer(factory.decoder(settings.modality)),
        batch_tolerance=settings.batch_tolerance,
    )
