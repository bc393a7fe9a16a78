"""The three training stages of the nano language model."""

from __future__ import annotations

from motet.training.nano.dialogues.mixture import SHARES
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
    dialogue_odds=SHARES,
    # The output projections are trained last, on the hidden states of the model that this stage produces:
    # see `motet.training.nano.recipes.output_projections`.
    parts=frozenset({"vocabulary", "input_projection", "lora"}),
    minutes=40.0,
    rate=1.5e-3,
)
# The paper aligns the input first. Here the output is first: it needs no encoder, so the encoder can train meanwhile.
STAGES = (DECODING, ENCODING, INSTRUCTION)
