"""The chat template of the language model: Vicuna's format, as NExT-GPT v0 was trained with it.

    <s>### Human: <Img>{one vector}</Img> {question}
    ### Assistant: {answer}[IMG0] [IMG1] [IMG2] [IMG3]
    ### Human: ...

An attachment is between <Img> and </Img>, whatever its modality. Media of an earlier assistant turn become the run of
signal tokens that requested them. Training writes the same format, and a test compares the token ids.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from motet.core.workers import Embedding, Turn

STOP = "###"
FIRST_USER = "### Human:"
NEXT_USER = " Human:"
_ASSISTANT = "\n### Assistant:"
_NEXT_ASSISTANT = " Assistant:"
_END_OF_TURN = "\n###"

HEADING_WORDS = ("#", "Human", "Assistant")
"""The parts of every heading. A text in which each of them is tokenized on its own has other token ids."""

HEADINGS = (
    (FIRST_USER,),
    (_ASSISTANT,),
    ("### Assistant:",),
    (_END_OF_TURN, NEXT_USER),
    (_END_OF_TURN, _NEXT_ASSISTANT),
)
"""Each heading as the texts that are tokenized separately. All of them contain `STOP`."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment of a rendered conversation: text that is tokenized separately, or media.

    `heading` is true for text of the template, and false for text and media of a turn. `by_assistant` is true for
    segments of the assistant.
    """

    content: str | Embedding
    by_assistant: bool = False
    heading: bool = False


def render_exchange(turns: Sequence[Turn], *, last: bool) -> Iterator[Segment]:
    """Yield the segments of a user's turn and the assistant's turns after it, without the user's heading.

    After the last user's turn, the last segment is "### Assistant:", so the model continues with the assistant's turn.
    Every other exchange ends with the stop text, as in training.
    """
    user, *answers = turns
    for part in user.parts:
        yield Segment(f" {part}" if isinstance(part, str) else part)
    yield Segment(_ASSISTANT, heading=True)
    for index, turn in enumerate(answers):
        if index > 0:
            yield Segment(_NEXT_ASSISTANT, heading=True)
        yield from _assistant_turn(turn)
    if not answers and not last:
        yield Segment(_END_OF_TURN, heading=True)


def _assistant_turn(turn: Turn) -> Iterator[Segment]:
    first = True
    for part in turn.parts:
        if isinstance(part, str):
            # Only the first text follows the colon. Later texts contain their own leading space.
            yield Segment(f" {part.lstrip()}" if first else part, by_assistant=True)
            first = False
        else:
            yield Segment(part, by_assistant=True)
    yield Segment(_END_OF_TURN, by_assistant=True, heading=True)
