"""The amounts of media that workers process."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from motet.core.telemetry.families.work_metrics import WORK_UNITS
from motet.core.telemetry.prometheus import labelled
from motet.core.telemetry.service_kind import ServiceKind


class Unit(StrEnum):
    """A unit of work. It is the value of the label `unit`."""

    MEGAPIXELS = "megapixels"
    """Millions of pixels of pictures, or of all frames of clips."""
    FRAMES = "frames"
    """Frames of clips."""
    SECONDS = "seconds"
    """Seconds of sound."""


def pixel_work(shape: tuple[int, ...]) -> dict[Unit, float]:
    """Return the units of a picture of shape (height, width, 3), or of a clip of shape (frames, height, width, 3)."""
    *frames, height, width, _ = shape
    count = frames[0] if frames else 1
    megapixels = {Unit.MEGAPIXELS: count * height * width / 1e6}
    return {**megapixels, Unit.FRAMES: count} if frames else megapixels


def count_work(component: ServiceKind, modality: str, units: Mapping[Unit, float]) -> None:
    """Count units of work. The modality is one of the bundle's."""
    for unit, amount in units.items():
        labelled(WORK_UNITS, component, modality, unit).inc(amount)
