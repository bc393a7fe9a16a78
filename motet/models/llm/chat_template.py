"""How a conversation is written down for the language model: Vicuna's form, as NExT-GPT v0 was trained with it.

    <s>### Human: <Img>{one vector}</Img> {question}
    ### Assistant: {answer}[IMG0] [IMG1] [IMG2] [IMG3]
    ### Human: ...

Serving and training use this one function, so a model is asked in the form it has learned. What was attached
stands between <Img> and </Img>, whatever its modality; media that the assistant made reappear as the run of
signal tokens that asked for them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from motet.core.workers import Embedding, Turn

STOP = "###"
_OPENING = "### Human:"
_FURTHER = " Human:"
_ANSWERING = "\n### Assistant:"
_CLOSING = "\n###"


@dataclass(frozen=True, slots=True)
class Segment:
    """One piece of the transcript: text that is tokenised by itself, or media.

    `spoken` says that the assistant wrote it; training learns to write these and only reads the others.
    """

    content: str | Embedding
    spoken: bool = False


def render_chat(turns: Sequence[Turn]) -> Iterator[Segment]:
    """The pieces of a conversation, in order; it ends where the assistant is to go on.

    After a user's turn that is "### Assistant:". A conversation that ends with the assistant's turn is closed,
    as in training.
    """
    for index, turn in enumerate(turns):
        if turn.role == "user":
            yield Segment(_OPENING if index == 0 else _FURTHER)
            for part in turn.parts:
                yield Segment(f" {part}" if isinstance(part, str) else part)
            yield Segment(_ANSWERING)
        else:
            yield from _answer(turn)


def _answer(turn: Turn) -> Iterator[Segment]:
    first = True
    for part in turn.parts:
        if isinstance(part, str):
            # Only the first text follows the colon; the others carry the space they were written with.
            yield Segment(f" {part.lstrip()}" if first else part, spoken=True)
            first = False
        else:
            yield Segment(part, spoken=True)
    yield Segment(_CLOSING, spoken=True)
