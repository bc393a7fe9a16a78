"""The three stages of NExT-GPT's training, as data (ICML 2024, section 4; fact sheet 1.9)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TrainingStage:
    """What one stage reads, and what of the model learns from it.

    `scenes` are the kinds of dialogue and their odds. Of the parts, `words` are the embeddings and the last
    layer, both in full as in v0, `lora` the adapter, `inputs` and `outputs` the projections.
    """

    name: str
    scenes: Mapping[str, float]
    parts: frozenset[str]
    minutes: float
    rate: float


ENCODING = TrainingStage(
    name="encoding",
    scenes={"describe": 1.0},
    parts=frozenset({"words", "inputs"}),
    minutes=3.0,
    rate=2e-3,
)
DECODING = TrainingStage(
    name="decoding",
    scenes={"caption": 1.0},
    parts=frozenset({"words", "outputs"}),
    minutes=5.0,
    rate=2e-3,
)
INSTRUCTION = TrainingStage(
    name="instruction",
    scenes={
        "wishes": 0.40,
        "question": 0.20,
        "mixed": 0.09,
        "variation": 0.08,
        "chat": 0.15,
        "talk": 0.05,
        "several": 0.03,
    },
    # The output projections are trained last, from the states that this stage leaves:
    # see `motet.training.nano.recipes.output_projections`.
    parts=frozenset({"words", "inputs", "lora"}),
    minutes=40.0,
    rate=1.5e-3,
)
# The paper aligns the input first. Here the output comes first: it needs no encoder, which trains at the same time.
STAGES = (DECODING, ENCODING, INSTRUCTION)
