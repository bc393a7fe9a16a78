"""The manifest of the toys: a model without weights, to try out everything else."""

from __future__ import annotations

from motet.core.bundle import Manifest
from motet.media.kinds import MODALITIES
from motet.toys.workers import FIRST_SIGNAL

_KNOWN = list(dict.fromkeys(MODALITIES.values()))
_RUN = 4

TOY = Manifest.model_validate(
    {
        "name": "toy",
        "licence": "Apache-2.0",
        "description": "No model at all: it repeats what it is told and makes meaningless bytes.",
        "encoder": {"kind": "toy", "path": "encoder", "modalities": _KNOWN},
        "language_model": {
            "path": "llm",
            "projections": "projections",
            "prompt": "vicuna-v0",
            # The grammar starts two ids further on.
            "first_control": FIRST_SIGNAL - 2,
            "max_tokens": 2048,
        },
        "signals": {
            modality: {"token": "[" + modality + "{i}]", "run": _RUN, "decoder": modality} for modality in _KNOWN
        },
        "decoders": {
            modality: {
                "kind": "toy",
                "path": f"decoders/{modality}",
                "conditioning": [4],
                "media_type": "application/octet-stream",
                "steps": 4,
                "guidance": 1.0,
            }
            for modality in _KNOWN
        },
        "files": {},
    }
)
"""Reads and makes every modality that Motet's media know."""
