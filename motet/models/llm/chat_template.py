"""The chat template of the language model: Vicuna's format, as NExT-GPT v0 was trained with it.

    <s>### Human: <Img>{one vector}</Img> {question}
    ### Assistant: {answer}[IMG0] [IMG1] [IMG2] [IMG3]
    ### Human: ...

Serving and training use the same function, so a prompt has the format that the model was trained with. An attachment
is between <Img> and </Img>, whatever its modality. Media of an earlier assistant turn become the run of signal tokens
that requested them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from motet.core.workers import Embedding, Turn

STOP = "###"
_FIRST_USER = "### Human:"
_NEXT_USER = " Human:"
_ASSISTANT = "\n### Assistant:"
_END_OF_TURN = "\n###"


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a rendered conversation: text that is tokenized separately, or media.

    `by_assistant` is true for segments of the assistant. Training computes the loss on these segments only.
    """

    content: str | Embedding
    by_assistant: bool = False


def render_chat(turns: Sequence[Turn]) -> Iterator[Segment]:
    """Yield the segments of a conversation, in order.

    After a user's turn, the last segment is "### Assistant:", so the model continues with the assistant's turn. A
    conversation that ends with the assistant's turn ends with the stop text, as in training.
    """
    for index, turn in enumerate(turns):
        if turn.role == "user":
            yield Segment(_FIRST_USER if index == 0 else _NEXT_USER)
            for part in turn.parts:
                yield Segment(f" {part}" if isinstance(part, str) else part)
            yield Segment(_ASSISTANT)
        else:
            yield from _assistant_turn(turn)


def _assistant_turn(turn: Turn) -> Iterator[Segment]:
    first = True
    for part in turn.parts:
        if isinstance(part, str):
            # Only the first text follows the colon. Later texts contain their own leading space.
            yield Segment(f" {part.lstrip()}" if first else part, by_assistant=True)
            first = False
        else:
            yield Segment(part, by_assistant=True)
    yield Segment(_END_OF_TURN, by_assistant=True)
