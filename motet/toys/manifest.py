"""The manifest of the toy workers."""

from __future__ import annotations

from motet.core.bundle import Manifest
from motet.media.kinds import MODALITIES
from motet.toys.workers import FIRST_SIGNAL

_MODALITIES = list(dict.fromkeys(MODALITIES.values()))
_RUN = 4

MIX = "mix"
"""A modality that takes one medium of each other modality. The toy requests it only if the prompt contains its name."""

TOY = Manifest.model_validate(
    {
        "name": "toy",
        "licence": "Apache-2.0",
        "description": "A toy without weights: it repeats the prompt and produces meaningless bytes.",
        "encoder": {"kind": "toy", "path": "encoder", "modalities": _MODALITIES},
        "language_model": {
            "path": "llm",
            "projections": "projections",
            "prompt": "vicuna-v0",
            # The grammar starts two ids later, after `<Img>` and `</Img>`.
            "first_control": FIRST_SIGNAL - 2,
            "max_tokens": 2048,
        },
        "signals": {
            modality: {
                "token": "[" + modality + "{i}]",
                "run": _RUN,
                "decoder": modality,
                "takes": _MODALITIES if modality == MIX else [],
            }
            for modality in (*_MODALITIES, MIX)
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
            for modality in (*_MODALITIES, MIX)
        },
        "files": {},
    }
)
"""The toy model: its inputs are all modalities of `motet.media.kinds`, and its outputs are these and `MIX`."""
