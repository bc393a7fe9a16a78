"""A dialogue between a user and the model: utterances that consist of texts and things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from motet.core.workers import Role
from motet.training.nano.world.world import Thing


@dataclass(frozen=True, slots=True)
class ContextText:
    """A text of an answer that the model reads but does not learn to write: its tokens have no labels."""

    text: str


@dataclass(frozen=True, slots=True)
class TextWithAlternatives:
    """A text of an answer that the model learns, with alternatives that do not count as wrong.

    The loss ignores the token that distinguishes an alternative from the text.
    """

    text: str
    alternatives: tuple[str, ...]


# A thing is an attached medium in an utterance of the user, and a signal run in an utterance of the assistant.
DialoguePart = str | ContextText | TextWithAlternatives | Thing


@dataclass(frozen=True, slots=True)
class Utterance:
    """One turn: its role, and its texts and things in order."""

    role: Role
    parts: tuple[DialoguePart, ...]


Dialogue = tuple[Utterance, ...]


def exchange(question: Sequence[DialoguePart], answer: Sequence[DialoguePart]) -> Dialogue:
    """Return one turn of the user and one of the assistant."""
    return Utterance("user", tuple(question)), Utterance("assistant", tuple(answer))


def with_media(attached: Sequence[Thing], text: str, rng: np.random.Generator) -> tuple[DialoguePart, ...]:
    """Return a user's parts: the media, usually before the text."""
    if not text:
        return tuple(attached)
    return (text, *attached) if rng.random() < 0.2 else (*attached, text)


def plain_text(part: DialoguePart) -> str:
    """Return a part as text. A thing becomes its caption."""
    match part:
        case str():
            return part
        case ContextText() | TextWithAlternatives():
            return part.text
        case Thing():
            return part.caption
