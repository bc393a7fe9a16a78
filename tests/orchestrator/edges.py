"""A toy model whose decoders take media: "c" takes "a", and "d" takes "b" and the nearest "c" or "v"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motet.core.bundle import Manifest
from motet.core.workers import Decoder, Prompt
from motet.toys.workers import Token, ToyDecoder
from orchestrator.orchestrator import Orchestrator
from tests.orchestrator.pipeline_harness import MANIFEST, RUN_LENGTH, orchestrator_of, script_of

TAKES: dict[str, list[Any]] = {"a": [], "b": [], "c": ["a"], "d": ["b", ["c", "v"]]}

EDGES = Manifest.model_validate(
    MANIFEST.model_dump()
    | {
        "encoder": {"kind": "toy", "path": "encoder", "modalities": ["a", "b", "v"]},
        "signals": {
            name: {"token": f"[{name}{{i}}]", "run": RUN_LENGTH, "decoder": name, "takes": takes}
            for name, takes in TAKES.items()
        },
        "decoders": {
            name: MANIFEST.decoders["a"].model_dump() | {"path": name, "media_type": f"x/{name}"} for name in TAKES
        },
    }
)
"""The modality "v" can be attached, and no decoder makes it."""


def plan_of(prompt: Prompt) -> list[Token]:
    """Return the script that the last text of a prompt spells: "ab" requests an "a" and then a "b", and "-" is text."""
    text = [part for part in prompt.turns[-1].parts if isinstance(part, str)][-1]
    runs = {run.modality: list(run.ids) for run in EDGES.grammar.runs}
    return script_of(*(runs.get(letter, letter) for letter in text))


def edge_decoders(**others: Decoder) -> dict[str, Any]:
    """Return a toy decoder for each modality, except for the decoders in `others`."""
    return {name: others.get(name) or ToyDecoder(name, media_type=f"x/{name}") for name in TAKES}


def edge_orchestrator(decoders: Mapping[str, Decoder] | None = None, **options: Any) -> Orchestrator:
    """Return an orchestrator whose language model requests the modalities that the prompt spells, see `plan_of`."""
    options = {"script": plan_of, "manifest": EDGES, **options}
    return orchestrator_of(decoders=decoders or edge_decoders(), **options)
