"""Capital letters, closing marks and courtesy of a user's sentences."""

from __future__ import annotations

import numpy as np

from motet.training.nano.dialogues.phrases import COURTESY_AFTER, COURTESY_BEFORE, QUESTION_OPENERS, pick

_QUESTION_STARTS = ("can ", "could ", "would ", "may ", "will ", "what ", "how ", "is ", "who ", "which ", "where ")


def capitalized(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def punctuated(text: str, rng: np.random.Generator, required: bool = False) -> str:
    """Return the text with its closing mark. The mark is sometimes missing unless it is `required`."""
    if text[-1] in ".!?":
        return text
    if text.lower().startswith(_QUESTION_STARTS):
        return text + ("?" if required or rng.random() < 0.7 else "")
    return text + pick(rng, (".", ".", "!") if required else (".", ".", "!", "", "", ""))


def with_opener(question: str, rng: np.random.Generator) -> str:
    """Return the question, sometimes after words such as "one question:"."""
    if rng.random() >= 0.2 or question[:2] == "I ":
        return question
    return f"{pick(rng, QUESTION_OPENERS)} {question[:1].lower()}{question[1:]}"


def with_courtesy(text: str, rng: np.random.Generator) -> str:
    """Return the text as a sentence, sometimes with a courtesy such as "please" before or after it."""
    if rng.random() < 0.15:
        text = f"{pick(rng, COURTESY_BEFORE)} {text}"
    if rng.random() < 0.12:
        after = pick(rng, COURTESY_AFTER)
        text += after if after.startswith(",") else f" {after}"
    return punctuated(capitalized(text) if rng.random() < 0.7 else text, rng)
