"""Several yes-or-no questions about one medium."""

from __future__ import annotations

import numpy as np

from motet.training.nano.dialogues.descriptions import yes_no_question
from motet.training.nano.dialogues.dialogue import Dialogue, exchange, with_media
from motet.training.nano.dialogues.generator import DialogueGenerator
from motet.training.nano.dialogues.questions import CHECKS
from motet.training.nano.dialogues.sentences import capitalized
from motet.training.nano.dialogues.typing_noise import with_typing_noise

_MOST = 5


def checks(generator: DialogueGenerator, rng: np.random.Generator) -> Dialogue:
    """Return one to five yes-or-no questions about one medium, and their answers.

    Only one token of an answer says whether two words are equal. With one question in a dialogue, the model learned
    that token last, and answered "no" to everything.
    """
    thing = generator.subject(rng)
    dialogue: Dialogue = ()
    for place in range(int(rng.integers(1, _MOST + 1))):
        question, answer = yes_no_question(thing, CHECKS, rng)
        text = with_typing_noise(capitalized(question), rng)
        dialogue += exchange((text,) if place else with_media([thing], text, rng), (answer,))
    return dialogue
