"""The check that the media of a signal fit the inputs of its decoder."""

from __future__ import annotations

from collections.abc import Sequence

from motet.core.bundle import MANIFEST, Manifest
from motet.media.kinds import modality_of
from motet.models.config_rules import Rule, check_field


def check_takes(manifest: Manifest, modality: str, takes: Sequence[str]) -> None:
    """Check the slots of a modality's signal. `takes` has the modality of each input of its decoder.

    Raises `BundleError`, which names the field, and the implemented and the found value.
    """
    slots = manifest.signals[modality].takes
    label, made = f"{MANIFEST}, signals.{modality}", {name: _made_by(manifest, name) for slot in slots for name in slot}
    expected = f"a slot for {', then one for '.join(takes)}" if takes else "absent"

    def fits(found: Sequence[Sequence[str]]) -> bool:
        return [{made[name] for name in slot} for slot in found] == [{name} for name in takes]

    check_field(label, "takes", slots, Rule(expected, fits))


def _made_by(manifest: Manifest, name: str) -> str | None:
    """Return the modality of the files of a signal, or of attached media."""
    return modality_of(manifest.decoder_of(name).media_type) if name in manifest.signals else name
