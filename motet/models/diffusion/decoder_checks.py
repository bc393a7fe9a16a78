"""Checks that the parts of a decoder fit each other: the manifest's entry, the networks, and the conditioning.

Each raises `BundleError`, which names the file, the field, and the implemented and the found value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motet.core.bundle import MANIFEST, DecoderEntry
from motet.models.config_rules import Rule, check_field, check_fields, one_of
from motet.models.diffusion.kinds.base import LatentDiffusion, vae_scale_factor
from motet.models.model_folder import ModelFolder


def check_entry(modality: str, entry: DecoderEntry, kind: type[LatentDiffusion]) -> None:
    """Check the entry of a modality's decoder for its kind."""
    label = f"{MANIFEST}, the {modality} decoder"
    check_field(label, "media_type", entry.media_type, one_of(kind.media_type))
    check_field(label, "conditioning", entry.conditioning, kind.conditioning)
    for name in entry.shared:
        check_field(label, "shared", name, one_of(*kind.networks, "scheduler"))
    given = {name: rule for name, rule in kind.option_rules.items() if name in entry.options}
    check_fields(f"{label}, options", entry.options, given, {})


def check_networks(
    modality: str,
    entry: DecoderEntry,
    kind: type[LatentDiffusion],
    networks: Mapping[str, Any],
    folders: Mapping[str, ModelFolder],
) -> None:
    """Check the networks of a modality's decoder. `folders` are their folders."""
    configs = {
        name: network.config.to_dict() if hasattr(network.config, "to_dict") else network.config
        for name, network in networks.items()
    }
    labels = {name: folders[name].label("config.json") for name in networks}
    for name, classes in kind.networks.items():
        check_field(labels[name], "the class", type(networks[name]).__name__, one_of(*classes))
    for name, rules in kind.field_rules(entry, configs).items():
        for key, rule in rules.items():
            check_field(labels[name], key, configs[name].get(key), rule)
    scale = vae_scale_factor(configs["vae"])
    for name in {"height", "width"} & entry.options.keys():
        whole = Rule(f"a multiple of {scale}, the autoencoder's scale", lambda value: value % scale == 0)
        check_field(f"{MANIFEST}, the {modality} decoder, options", name, entry.options[name], whole)
