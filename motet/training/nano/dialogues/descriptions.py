"""Sentences that describe a thing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from motet.training.nano.dialogues.dialogue import ContextText, DialoguePart, TextWithAlternatives
from motet.training.nano.dialogues.phrases import pick
from motet.training.nano.dialogues.sentences import capitalized
from motet.training.nano.world.world import Thing, things, things_without_manner, with_article

_PERCEPTION = {"image": "I see", "audio": "I hear", "video": "I see"}


def description(thing: Thing) -> tuple[str, str, str]:
    """Return the description of a thing in three pieces. The first names the subject, the second the manner.

    The pieces form two sentences, so that the model can learn the second sentence after any subject.
    """
    start, manner, end = manner_sentence(thing)
    return f"{_PERCEPTION[thing.modality]} {with_article(thing.subject)}. {start}", manner, end


def manner_sentence(thing: Thing) -> tuple[str, str, str]:
    """Return the sentence about a thing's manner in three pieces. The second is the manner."""
    match thing.modality:
        case "image":
            return "The background is", f" {thing.manner}", "."
        case "audio":
            return "The note is", f" {thing.manner}", "."
        case _:
            return "It is", f" {thing.manner}", "."


def random_manner(thing: Thing, rng: np.random.Generator) -> DialoguePart:
    """Return the text about the manner of a thing without a named manner: any manner, all equally likely.

    So the model learns that a subject predicts no manner. The manner of a picture is only context, because a random
    colour can look like a named one.
    """
    manner = manner_sentence(pick(rng, things(thing.modality)))[1]
    return ContextText(manner) if thing.modality == "image" else manner


def continued(part: DialoguePart) -> DialoguePart:
    """Return the part with a space before its text, so that it can follow another text."""
    match part:
        case str():
            return f" {part}"
        case ContextText():
            return ContextText(f" {part.text}")
        case TextWithAlternatives():
            return TextWithAlternatives(f" {part.text}", tuple(f" {other}" for other in part.alternatives))
        case Thing():
            return part


def yes_no_question(
    thing: Thing, templates: Sequence[str], rng: np.random.Generator, perception: str = ""
) -> tuple[str, str]:
    """Return a yes-or-no question about a thing's subject, and its answer. {g} in a template is the guess.

    The answer names the guess and the subject first, because a small model compares two words of its own answer better
    than a word of the question and a medium. `perception` is the beginning of the second sentence. The default is that
    of a description.
    """
    same = rng.random() < 0.5
    others = [other.subject for other in things_without_manner(thing.modality) if other.subject != thing.subject]
    guess = thing.subject if same else pick(rng, others)
    question = capitalized(pick(rng, templates).format(g=with_article(guess)))
    named = f"{perception or _PERCEPTION[thing.modality]} {with_article(thing.subject)}."
    named = f"{capitalized(with_article(guess))}? {named}"
    return question, f"{named} {'Yes, it is.' if same else 'No, it is not.'}"
