"""A decoder service."""

from __future__ import annotations

from typing import Any

from motet.core.bundle import Manifest
from motet.core.telemetry.service_kind import ServiceKind
from services.decoder.servicer import DecoderServicer
from services.decoder.settings import DecoderSettings
from services.serve import Service, worker_service
from services.settings import settings_of


def decoder_service(options: dict[str, Any]) -> Service:
    """Return the service with settings from options and the environment. Raises `SettingsError`.

    Opening the service raises `NotFoundError` for a modality without a decoder in the bundle.
    """
    settings = settings_of(DecoderSettings, options)

    def parts(manifest: Manifest) -> tuple[str, ...]:
        entry = manifest.decoder_of(settings.modality)
        return (entry.path, *entry.shared.values())

    return worker_service(
        ServiceKind.DECODER,
        f"{settings.modality} decoder",
        settings.listen,
        settings,
        parts,
        lambda factory: DecoderServicer(factory.decoder(settings.modality), settings.modality),
        batch_tolerance=settings.batch_tolerance,
        decodes_media=lambda manifest: bool(manifest.signals[settings.modality].takes),
    )
