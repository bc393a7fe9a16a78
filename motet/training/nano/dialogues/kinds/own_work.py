"""Questions about the media of the model itself: "What was that?"."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from motet.training.nano.dialogues.descriptions import manner_sentence, yes_no_question
from motet.training.nano.dialogues.dialogue import Dialogue, exchange
from motet.training.nano.dialogues.generator import DialogueGenerator
from motet.training.nano.dialogues.kinds.edges import EdgeDialogues
from motet.training.nano.dialogues.kinds.fillers import fillers
from motet.training.nano.dialogues.phrases import pick, split_phrases
from motet.training.nano.dialogues.questions import OWN_WORK_QUESTIONS
from motet.training.nano.dialogues.requests import answers, combined_prompt
from motet.training.nano.dialogues.sentences import capitalized, punctuated, with_opener
from motet.training.nano.dialogues.typing_noise import with_typing_noise
from motet.training.nano.world.world import MODALITIES, Thing

NOTHING_MADE = "I have not made anything yet. What would you like?"
_CHECKS = split_phrases(
    """was that {g}?|is that {g}?|was it {g}?|did you make {g}?|that was {g}, right?|did you give me {g}?
    have you made {g}?|was your answer {g}?|should that be {g}?|did I get {g}?|is that supposed to be {g}?"""
)
_MANNER_QUESTIONS = {
    "image": split_phrases(
        "what colour was the background?|which background did it have?|what is the background of your picture?"
    ),
    "audio": split_phrases("was that high or low?|how high was your note?|which register was that?"),
    "video": split_phrases("how did it move?|which way did it move in your clip?|what did it do in your clip?"),
}


def own_work(generator: DialogueGenerator, edges: EdgeDialogues, rng: np.random.Generator) -> Dialogue:
    """Return a conversation whose last turn asks about media of the model, or about none if there are none."""
    if rng.random() < 0.1:
        dialogue = fillers(generator, rng, int(rng.integers(3)), modalities=())
        return dialogue + _exchange(
            pick(rng, [q for group in OWN_WORK_QUESTIONS.values() for q in group]), NOTHING_MADE, rng
        )
    if rng.random() < 0.3:
        prompts, requests = edges.requests(rng)
    else:
        count = int(rng.choice([1, 2, 3], p=[0.6, 0.28, 0.12]))
        prompts = requests = [generator.request(rng, complete=True) for _ in range(count)]
    made = [request.thing for request in requests if request.thing]
    dialogue = exchange((with_typing_noise(combined_prompt(prompts, rng), rng),), answers(requests))
    dialogue += fillers(generator, rng, int(rng.choice([0, 1, 2, 3], p=[0.5, 0.25, 0.15, 0.1])), modalities=())
    return dialogue + _exchange(*_question(made, rng), rng)


def own_work_answer(made: Sequence[Thing]) -> str:
    """Return the sentence about media that the model made."""
    return f"That was {', then '.join(map(_name, made))}."


def _name(thing: Thing) -> str:
    return f"the picture {thing.manner}" if thing.modality == "animation" else thing.caption


def _question(made: Sequence[Thing], rng: np.random.Generator) -> tuple[str, str]:
    """Return a question about all the media, or about one that no other one resembles, and the answer."""
    chance = rng.random()
    alone = [thing for thing in made if [other.modality for other in made].count(thing.modality) == 1]
    if chance < 0.5 or not alone:
        return pick(rng, OWN_WORK_QUESTIONS["any"]), own_work_answer(made)
    thing = pick(rng, alone)
    if chance < 0.75 or thing.modality not in MODALITIES or len(made) > 1:
        return pick(rng, OWN_WORK_QUESTIONS[thing.modality]), own_work_answer([thing])
    if chance < 0.9:
        return yes_no_question(thing, _CHECKS, rng, perception="That was")
    return pick(rng, _MANNER_QUESTIONS[thing.modality]), "".join(manner_sentence(thing))


def _exchange(question: str, answer: str, rng: np.random.Generator) -> Dialogue:
    question = with_opener(question, rng)
    text = punctuated(capitalized(question) if rng.random() < 0.7 else question, rng)
    return exchange((with_typing_noise(text, rng),), (answer,))
