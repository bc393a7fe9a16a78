"""The confinement of media at the start of a service: a log line, metrics, and the refusal to start without it."""

from __future__ import annotations

import logging
import os

from motet.core.errors import SettingsError
from motet.core.telemetry.families import media_metrics
from motet.media.confinement.layers import Layer, States
from motet.media.layer_check import check_layers
from services.settings import ServiceSettings

logger = logging.getLogger(__name__)


def report_confinement(settings: ServiceSettings) -> None:
    """Check the layers in a real child, log them and count them. It takes some 0.1 s.

    Raises `SettingsError` if a layer is off that `settings.require_confinement` requires.
    """
    states = check_layers()
    off = {str(layer): reason for layer, reason in states.items() if reason}
    for layer, reason in states.items():
        media_metrics.MEDIA_CONFINEMENT.labels(layer).set(not reason)
    level = logging.WARNING if _missing(states) else logging.INFO
    on = [str(layer) for layer in states if layer not in off]
    logger.log(level, "media are decoded in a confined child", extra={"on": on, "off": off})
    if settings.require_confinement and (missing := _missing(states)):
        reasons = "; ".join(f"{layer}: {states[layer]}" for layer in missing)
        raise SettingsError(
            f"MOTET_REQUIRE_CONFINEMENT is set, but a layer is off ({reasons}): "
            "provide it, or start without this setting"
        )


def _missing(states: States) -> list[Layer]:
    """Return the layers that are off but should be on. Only a service that runs as root can change a child's user."""
    return [layer for layer, reason in states.items() if reason and (layer != Layer.USER or os.geteuid() == 0)]
