"""The modalities that can be generated and read at the moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from motet.core.bundle import Manifest
from motet.core.events import TEXT
from motet.core.workers import Workers, is_available


@dataclass(frozen=True, slots=True)
class Availability:
    """The modalities of a model, `TEXT` included, and for each one whether requests with it can be served now."""

    outputs: Mapping[str, bool]
    inputs: Mapping[str, bool]


def availability_of(workers: Workers, manifest: Manifest, waits: bool = False) -> Availability:
    """Return what can be served by the workers that can be reached, or by all if calls wait until they can be.

    Every request needs the language model, and attached media also need the encoder. An output needs its decoder, and
    media for each slot of the decoder, which can come from other decoders or from the conversation.
    """
    text = waits or is_available(workers.language_model)
    read = manifest.encoder.modalities if waits or is_available(workers.encoder) else []
    present = {modality for modality, decoder in workers.decoders.items() if waits or is_available(decoder)}
    made: set[str] = set()

    def can_make(modality: str) -> bool:
        slots = manifest.signals[modality].takes
        return modality in present and all(any(name in made or name in read for name in slot) for slot in slots)

    while added := {modality for modality in manifest.signals if modality not in made and can_make(modality)}:
        made |= added
    outputs = {TEXT: text} | {modality: text and modality in made for modality in manifest.signals}
    return Availability(outputs, {modality: text and modality in read for modality in manifest.encoder.modalities})
