"""The three training stages of the nano language model."""

from __future__ import annotations

from motet.training.stages import TrainingStage

ENCODING = TrainingStage(
    name="encoding",
    dialogue_odds={"describe": 1.0},
    parts=frozenset({"vocabulary", "input_projection"}),
    minutes=3.0,
    rate=2e-3,
)
DECODING = TrainingStage(
    name="decoding",
    dialogue_odds={"caption": 1.0},
    parts=frozenset({"vocabulary", "output_projections"}),
    minutes=5.0,
    rate=2e-3,
)
INSTRUCTION = TrainingStage(
    name="instruction",
    dialogue_odds={
        "requests": 0.40,
        "question": 0.20,
        "mixed": 0.09,
        "follow_up": 0.08,
        "chat": 0.15,
        "small_talk": 0.05,
        "several": 0.03,
    },
    # The output projections are trained last, on the hidden states of the model that this stage produces:
    # see `motet.training.nano.recipes.output_projections`.
    parts=frozenset({"vocabulary", "input_projection", "lora"}),
    minutes=40.0,
    rate=1.5e-3,
)
# The paper aligns the input first. Here the output is first: it needs no encoder, so the encoder can train meanwhile.
STAGES = (DECODING, ENCODING, INSTRUCTION)
