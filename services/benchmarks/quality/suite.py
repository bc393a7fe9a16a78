"""A case of a suite: a conversation with the bundle, and the expected last answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from motet.training.nano.world.world import Thing

# Sentences of the bundle that announce a medium.
_PROMISE = re.compile(r"\b(?:here is|here are|here you see|here it is|this is)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SuiteCase:
    """A conversation, and the expected answer to its last turn.

    `figure` is the figure that counts the answer. A turn has texts and attached things; the bundle answers each turn.
    `expected` are the things of the last answer, in order, and `edges` the positions in `expected` of the parts that
    each part takes. The answer must contain each of `words`, and none of `other_words`.
    """

    figure: str
    turns: tuple[tuple[str | Thing, ...], ...]
    expected: tuple[Thing, ...] = ()
    edges: tuple[tuple[int, ...], ...] = ()
    words: tuple[str, ...] = ()
    other_words: tuple[str, ...] = ()
    picture: Thing | None = None
    """The picture that an expected animation begins with."""

    @property
    def signals(self) -> frozenset[str]:
        """The signals that a bundle needs for this case."""
        return frozenset(thing.modality for thing in self.expected) | (
            {"animation", "film"} if self.figure in EDGE_FIGURES else frozenset()
        )


EDGE_FIGURES = frozenset({"plan with edges", "nothing to take refused"})
"""The figures that only a bundle with the signals `animation` and `film` has."""


def promises(text: str) -> int:
    """Return the number of media that an answer announces."""
    return len(_PROMISE.findall(text))
