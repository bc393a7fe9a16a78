"""Questions about media that the user attached one to six turns earlier."""

from __future__ import annotations

import numpy as np

from motet.training.nano.dialogues.descriptions import description
from motet.training.nano.dialogues.dialogue import ContextText, Dialogue, exchange, with_media
from motet.training.nano.dialogues.generator import DialogueGenerator
from motet.training.nano.dialogues.kinds.fillers import fillers
from motet.training.nano.dialogues.phrases import pick, split_phrases
from motet.training.nano.dialogues.questions import LATER_QUESTIONS, QUESTIONS
from motet.training.nano.dialogues.requests import answers, combined_prompt
from motet.training.nano.dialogues.sentences import capitalized, punctuated
from motet.training.nano.dialogues.typing_noise import with_typing_noise
from motet.training.nano.world.world import ANY, MODALITIES, Thing

NOTED = "Thank you. You can ask me about it at any time."
_NOTES = split_phrases(
    """keep this in mind|remember this|I will ask about this later|look at this|here is something for later
    this is mine|I send you this|here you are|this is for you|have a look|save this for later
    just remember it|do not say anything yet
    I have a question about this later|here is my file|take this"""
)
# Probabilities of one to six exchanges between the medium and the question.
_DISTANCES = (0.25, 0.2, 0.17, 0.14, 0.13, 0.11)


def later_question(generator: DialogueGenerator, rng: np.random.Generator) -> Dialogue:
    """Return a conversation whose first turn has a medium, and whose last turn asks about it.

    Sometimes a second medium of another modality is attached in between.
    """
    thing, question, reply = generator.question_about_thing(rng, questions=LATER_QUESTIONS)
    between = 1 + int(rng.choice(len(_DISTANCES), p=_DISTANCES))
    dialogue = _attachment(generator, thing, rng)
    if between > 1 and rng.random() < 0.3:
        other = generator.thing(rng, pick(rng, [name for name in MODALITIES if name != thing.modality]))
        between -= 1
        dialogue += (
            fillers(generator, rng, between - 1) + _attachment(generator, other, rng) + fillers(generator, rng, 1)
        )
    else:
        dialogue += fillers(generator, rng, between)
    return dialogue + exchange((with_typing_noise(question, rng),), reply)


def _attachment(generator: DialogueGenerator, thing: Thing, rng: np.random.Generator) -> Dialogue:
    """Return an exchange whose user turn has the medium. The model does not learn a description."""
    chance = rng.random()
    if chance < 0.3 and not {"", ANY} & {thing.subject, thing.manner}:
        question = punctuated(capitalized(pick(rng, QUESTIONS[thing.modality]["describe"])), rng)
        answer = ContextText("".join(description(thing)))
        return exchange(with_media([thing], with_typing_noise(question, rng), rng), (answer,))
    if chance < 0.65:
        request = generator.request(rng, complete=True)
        prompt = with_typing_noise(combined_prompt([request], rng), rng)
        return exchange(with_media([thing], prompt, rng), answers([request]))
    note = punctuated(capitalized(pick(rng, _NOTES)), rng)
    return exchange(with_media([thing], with_typing_noise(note, rng), rng), (NOTED,))
