"""The generator of the dialogues that the nano language model learns from.

Attached media and signal runs are things. The dialogues do not depend on the look or the sound of a thing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from motet.training.nano.dialogues.descriptions import (
    continued,
    description,
    manner_sentence,
    yes_no_question,
)
from motet.training.nano.dialogues.dialogue import (
    ContextText,
    Dialogue,
    DialoguePart,
    exchange,
    with_media,
)
from motet.training.nano.dialogues.follow_ups import follow_up
from motet.training.nano.dialogues.phrases import pick
from motet.training.nano.dialogues.questions import CHECKS, QUESTIONS
from motet.training.nano.dialogues.refusals import REFUSALS
from motet.training.nano.dialogues.requests import (
    MediaRequest,
    answers,
    combined_prompt,
    complete_request,
    open_request,
    presentation,
    subject_request,
    unknown_background_request,
    unknown_subject_request,
)
from motet.training.nano.dialogues.sentences import capitalized, punctuated, with_courtesy, with_opener
from motet.training.nano.dialogues.small_talk import NOTHING_ATTACHED, SMALL_TALK, THANKS
from motet.training.nano.dialogues.typing_noise import with_typing_noise
from motet.training.nano.dialogues.unbiased_answers import UnbiasedAnswers
from motet.training.nano.world.world import (
    ANY,
    MODALITIES,
    Thing,
    things_of_split,
    with_article,
)


class DialogueGenerator:
    """A generator of dialogues about the things of the training split, or of the test split (the held-out things)."""

    def __init__(self, test_split: bool = False) -> None:
        self._test_split = test_split
        self._things = {name: things_of_split(name, test_split) for name in MODALITIES}
        self._answers = UnbiasedAnswers(test_split)

    def dialogue(self, rng: np.random.Generator, kind: str) -> Dialogue:
        """Return a dialogue of a kind. The result depends on `rng` only."""
        match kind:
            case "requests":
                return self.requests(rng)
            case "question":
                return self.question(rng)
            case "mixed":
                return self.mixed(rng)
            case "follow_up":
                return self._follow_up(rng)
            case "chat":
                return self._chat(rng)
            case "several":
                return self.several(rng)
            case "describe":
                return self.describe(rng)
            case "caption":
                return self.caption(rng)
            case _:
                return small_talk(rng)

    def requests(self, rng: np.random.Generator, complete: bool = False) -> Dialogue:
        """Return one prompt with one to four requests, and the answer.

        `complete` requests name both attributes of known things.
        """
        count = int(rng.choice([1, 2, 3, 4], p=[0.38, 0.26, 0.21, 0.15]))
        requests = [self.request(rng, complete) for _ in range(count)]
        return exchange((with_typing_noise(combined_prompt(requests, rng), rng),), answers(requests))

    def question(self, rng: np.random.Generator) -> Dialogue:
        """Return a medium with a question about it, and the answer."""
        thing, text, reply = self.question_about_thing(rng)
        if rng.random() < 0.03:
            text = ""
        return exchange(with_media([thing], with_typing_noise(text, rng), rng), reply)

    def mixed(self, rng: np.random.Generator) -> Dialogue:
        """Return a medium, sometimes a question about it, and requests that do not refer to it."""
        count = int(rng.choice([1, 2, 3], p=[0.55, 0.25, 0.2]))
        requests = [self.request(rng, complete=True) for _ in range(count)]
        prompt = combined_prompt(requests, rng)
        if rng.random() < 0.25:
            attached = self.thing(rng)
            return exchange(with_media([attached], with_typing_noise(prompt, rng), rng), answers(requests))
        thing, question, reply = self.question_about_thing(rng)
        conjunction = pick(rng, (" and ", ", then ", " Then ", " And ", " ", " and then "))
        if conjunction.strip():
            prompt = prompt[0].lower() + prompt[1:]
        same_sentence = conjunction.strip(", ").islower()
        if same_sentence:
            question = question.rstrip("?.!")
        elif question[-1] not in ".?!":
            question = f"{question}."
        text = question + conjunction + prompt
        parts = with_media([thing], with_typing_noise(text, rng), rng)
        return exchange(parts, (*reply, *answers(requests, first=False)))

    def describe(self, rng: np.random.Generator) -> Dialogue:
        """Return a medium and its description. These dialogues align the input projection."""
        thing, reply = self._answers.description(self.thing(rng), rng)
        question = punctuated(capitalized(pick(rng, QUESTIONS[thing.modality]["describe"])), rng)
        return exchange((thing, question), reply)

    def caption(self, rng: np.random.Generator) -> Dialogue:
        """Return a caption and its thing. These dialogues align the output projections."""
        # All things are equally likely, not all modalities: a modality with more things needs more training.
        thing = pick(rng, [thing for each in self._things.values() for thing in each])
        return exchange((thing.caption,), (presentation(thing), thing))

    def several(self, rng: np.random.Generator) -> Dialogue:
        """Return two or three attached media and the description of each."""
        count = 2 + int(rng.random() < 0.3)
        described = [self._answers.description(self.thing(rng), rng) for _ in range(count)]
        question = pick(rng, ("What are these?", "Describe all of them.", "What do you see and hear?", "What is what?"))
        reply: list[DialoguePart] = []
        for _, (start, *rest) in described:
            reply += [continued(start) if reply else start, *rest]
        attached = [thing for thing, _ in described]
        return exchange(with_media(attached, with_typing_noise(question, rng), rng), reply)

    def thing(self, rng: np.random.Generator, modality: str | None = None) -> Thing:
        """Return a random thing of the split."""
        choices = self._things[modality or pick(rng, MODALITIES)]
        return choices[int(rng.integers(len(choices)))]

    def subject(self, rng: np.random.Generator) -> Thing:
        """Return a random thing without a named manner. In the test split, return a thing of the split."""
        return self._answers.without_manner(self.thing(rng))

    def question_about_thing(
        self,
        rng: np.random.Generator,
        modality: str | None = None,
        questions: Mapping[str, Mapping[str, tuple[str, ...]]] = QUESTIONS,
    ) -> tuple[Thing, str, tuple[DialoguePart, ...]]:
        """Return a thing, a question about it, and the answer. `questions` are those of the table `QUESTIONS`."""
        thing = self.thing(rng, modality)
        topic = str(rng.choice(["describe", "subject", "manner", "check"], p=[0.58, 0.13, 0.13, 0.16]))
        if topic == "check":
            thing = self._answers.without_manner(thing)
            question, answer = yes_no_question(thing, questions[thing.modality].get("check", CHECKS), rng)
            return thing, capitalized(with_opener(question, rng)), (answer,)
        if topic != "describe" and not self._test_split and rng.random() < 0.5:
            thing = replace(thing, **{"manner" if topic == "subject" else "subject": ANY})
        question = with_opener(pick(rng, questions[thing.modality][topic]), rng)
        question = punctuated(capitalized(question) if rng.random() < 0.7 else question, rng)
        if topic == "describe":
            thing, reply = self._answers.description(thing, rng)
            return thing, question, reply
        if topic == "manner":
            start, _, end = manner_sentence(thing)
            return thing, question, (start, self._answers.text(thing, lambda other: manner_sentence(other)[1]), end)
        return thing, question, (self._answers.text(thing, lambda other: f"It is {with_article(other.subject)}."),)

    def request(self, rng: np.random.Generator, complete: bool = False) -> MediaRequest:
        """Return one request. A `complete` one names both attributes of a known thing."""
        thing = self.thing(rng)
        chance = rng.random()
        if complete or chance < 0.68:
            return complete_request(thing, rng)
        if chance < 0.77:
            return subject_request(thing, rng)
        if chance < 0.79:
            return open_request(thing.modality, rng)
        if chance < 0.81:
            return unknown_background_request(self.thing(rng, "image"), rng)
        return unknown_subject_request(thing, rng)

    def _follow_up(self, rng: np.random.Generator) -> Dialogue:
        """Return a medium with a request for a variation of it, and the answer."""
        thing = self.thing(rng)
        text, requested = follow_up(thing, self._test_split, rng)
        while requested == thing != self._answers.with_unbiased_subject(thing, rng):
            text, requested = follow_up(thing, self._test_split, rng)
        if isinstance(requested, Thing) and requested != thing:
            if requested.subject == thing.subject:
                thing = self._answers.without_manner(thing)
            else:
                thing = self._answers.with_unbiased_subject(thing, rng)
        parts = with_media([thing], with_typing_noise(with_courtesy(text, rng), rng), rng)
        return exchange(parts, _presentation_or_refusal(requested))

    def _chat(self, rng: np.random.Generator) -> Dialogue:
        """Return two or three exchanges. Each refers to the previous one, or is small talk or a new request."""
        if rng.random() < 0.5:
            request = complete_request(self.thing(rng), rng)
            dialogue = exchange((with_typing_noise(combined_prompt([request], rng), rng),), answers([request]))
            thing = request.thing
        else:
            thing = self.thing(rng)
            question = punctuated(capitalized(pick(rng, QUESTIONS[thing.modality]["describe"])), rng)
            # The next exchange needs the thing with both attributes, so this answer must not be learned.
            answer = ContextText("".join(description(thing)))
            dialogue = exchange(with_media([thing], with_typing_noise(question, rng), rng), (answer,))
        for _ in range(1 + int(rng.random() < 0.35)):
            chance = rng.random()
            if thing is None or chance < 0.12:
                dialogue += small_talk(rng, later_turn=True)
            elif chance < 0.25:
                dialogue += self.requests(rng, complete=True)
                thing = None
            else:
                text, requested = follow_up(thing, self._test_split, rng)
                prompt = with_typing_noise(with_courtesy(text, rng), rng)
                dialogue += exchange((prompt,), _presentation_or_refusal(requested))
                thing = requested if isinstance(requested, Thing) else thing
        return dialogue


def _presentation_or_refusal(requested: Thing | str) -> tuple[DialoguePart, ...]:
    """Return a thing after its sentence. For a modality, return the refusal of that modality."""
    return (presentation(requested), requested) if isinstance(requested, Thing) else (REFUSALS[requested],)


def small_talk(rng: np.random.Generator, later_turn: bool = False) -> Dialogue:
    """Return small talk. A `later_turn` has no question about a missing attachment."""
    replies = [reply for reply in SMALL_TALK if not (later_turn and reply == NOTHING_ATTACHED)]
    reply = THANKS if later_turn and rng.random() < 0.5 else pick(rng, replies)
    text = pick(rng, SMALL_TALK[reply])
    text = punctuated(capitalized(text) if rng.random() < 0.7 else text, rng)
    return exchange((with_typing_noise(text, rng),), (reply,))
