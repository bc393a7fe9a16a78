"""Exchanges between two turns of a conversation that belong together."""

from __future__ import annotations

import numpy as np

from motet.training.nano.dialogues.dialogue import Dialogue, exchange
from motet.training.nano.dialogues.generator import DialogueGenerator, small_talk
from motet.training.nano.dialogues.requests import answers, combined_prompt, complete_request, unknown_subject_request
from motet.training.nano.dialogues.typing_noise import with_typing_noise
from motet.training.nano.world.world import MODALITIES

# Largest number of media among the fillers of a conversation, because a server forgets the oldest turns of a long one.
_MAX_MEDIA = 3


def fillers(
    generator: DialogueGenerator,
    rng: np.random.Generator,
    count: int,
    modalities: tuple[str, ...] = MODALITIES,
) -> Dialogue:
    """Return `count` exchanges: small talk, refusals, and requests for single media of these modalities."""
    dialogue: Dialogue = ()
    media = 0
    for _ in range(count):
        chance = rng.random()
        if chance < 0.4 and modalities and media < _MAX_MEDIA:
            request = complete_request(generator.thing(rng, modalities[int(rng.integers(len(modalities)))]), rng)
            media += 1
        elif chance < 0.5:
            request = unknown_subject_request(generator.thing(rng), rng)
        else:
            dialogue += small_talk(rng, later_turn=True)
            continue
        dialogue += exchange((with_typing_noise(combined_prompt([request], rng), rng),), answers([request]))
    return dialogue
