"""A training stage of NExT-GPT (ICML 2024, section 4; fact sheet 1.9), as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """The data, the trained parts and the schedule of one stage.

    `dialogue_odds` maps each kind of dialogue to its probability, up to a common factor. `parts` names the trained
    parts of the model, see `part_of`. `minutes` is the length in minutes of CPU time, `rate` the highest learning rate.
    """

    name: str
    dialogue_odds: Mapping[str, float]
    parts: frozenset[str]
    minutes: float
    rate: float


def part_of(parameter: str) -> str:
    """Return the part of NExT-GPT that a parameter belongs to, from the parameter's name.

    `lora` is the adapter, `vocabulary` the embeddings and the last layer (both trained in full, as in v0),
    `input_projection` and `output_projections` the projections, and `base` the language model's own weights.
    """
    if "lora_" in parameter:
        return "lora"
    if "embed_tokens" in parameter or "lm_head" in parameter:
        return "vocabulary"
    if "llama_proj" in parameter:
        return "input_projection"
    return "output_projections" if parameter.startswith("projections.") else "base"
