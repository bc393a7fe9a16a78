"""Answers about a thing. They do not teach that a held-out thing is impossible."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from motet.training.nano.dialogues.descriptions import description, random_manner
from motet.training.nano.dialogues.dialogue import ContextText, DialoguePart, TextWithAlternatives
from motet.training.nano.dialogues.phrases import pick
from motet.training.nano.dialogues.refusals import UNKNOWN_SUBJECTS
from motet.training.nano.world.world import ANY, MODALITIES, Thing, held_out_neighbours, unbiased_things


class UnbiasedAnswers:
    """A builder of answers about things of the training split or of the test split.

    A model that is trained only on whole combinations learns the list of them ("a piano is never low") and mistakes
    held-out things for others. In the training split most answers therefore teach one attribute only:

    - Subjects are described with things without a named manner, followed by any manner, all equally likely.
    - Manners are described after a subject that is context, often an unknown one.
    - In both cases the other attribute can be `ANY`.

    In an answer that names both attributes of a thing, no token counts as wrong if it leads to a held-out thing. In the
    test split all answers are plain text about the whole thing.
    """

    def __init__(self, test_split: bool) -> None:
        self._test_split = test_split
        self._unbiased = {name: unbiased_things(name) for name in MODALITIES}

    def description(self, thing: Thing, rng: np.random.Generator) -> tuple[Thing, tuple[DialoguePart, ...]]:
        """Return the thing, or a variation of it that teaches one attribute only, and the description."""
        start, manner, end = description(thing)
        chance = rng.random()
        if self._test_split or chance < 0.3:
            subject = self.text(thing, lambda other: description(other)[0])
            return thing, (subject, self.text(thing, lambda other: description(other)[1]), end)
        if chance < 0.5:
            return self.without_manner(thing), (start, random_manner(thing, rng), end)
        if chance < 0.75:
            return replace(thing, manner=ANY), (start, ContextText(manner), end)
        unbiased = self.with_unbiased_subject(thing, rng)
        name = unbiased.subject if rng.random() < 0.5 else pick(rng, UNKNOWN_SUBJECTS[thing.modality])
        return replace(thing, subject=ANY), (ContextText(description(replace(thing, subject=name))[0]), manner, end)

    def with_unbiased_subject(self, thing: Thing, rng: np.random.Generator) -> Thing:
        """Return an unbiased thing of the same manner. In the test split, return the thing."""
        if self._test_split or thing in self._unbiased[thing.modality]:
            return thing
        return pick(rng, [other for other in self._unbiased[thing.modality] if other.manner == thing.manner])

    def text(self, thing: Thing, text_of: Callable[[Thing], str]) -> DialoguePart:
        """Return the text about a thing. Texts about held-out things that share an attribute are alternatives."""
        text = text_of(thing)
        alternatives = {text_of(other) for other in held_out_neighbours(thing)} - {text}
        if alternatives and not self._test_split:
            return TextWithAlternatives(text, tuple(sorted(alternatives)))
        return text

    def without_manner(self, thing: Thing) -> Thing:
        """Return the subject without a named manner. In the test split, return the thing."""
        return thing if self._test_split else Thing(thing.modality, thing.subject, "")
