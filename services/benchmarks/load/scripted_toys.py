"""Toys whose prompts say what they write, so that a load can choose its own mix of text and media.

A prompt such as "30 image 20 audio" makes the language model write 30 tokens of text, ask for a picture, write 20 more
and ask for a sound. Everything takes as long as the toys' pace says.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice

from motet.core.signals import Grammar
from motet.core.workers import Prompt
from motet.toys.workers import Pause, Token, ToyLanguageModel

_LETTERS = "motet "


@dataclass(frozen=True, slots=True)
class Pace:
    """How slow toys are: seconds for an encoder's call, for a token, and for a step of each modality; 0 is instant.

    Decoders take `steps` steps.
    """

    encode: float = 0.0
    token: float = 0.0
    step: Mapping[str, float] = field(default_factory=dict)
    steps: int = 20

    def step_of(self, modality: str) -> float:
        """Seconds for a step of a modality."""
        return self.step.get(modality, 0.0)


def prompt_of(modalities: Sequence[str], before: int, between: int, after: int) -> str:
    """A prompt for each of these modalities: so many tokens of text before the first, between, and after the last."""
    words = [str(before)]
    for modality in modalities:
        words += [modality, str(between)]
    return " ".join([*words[:-1], str(after)])


def script_of(text: str, modalities: Collection[str]) -> list[int | str]:
    """What a prompt asks for: numbers of tokens, and modalities; all its other words are ignored."""
    words = text.split()
    return [int(word) if word.isdecimal() else word for word in words if word.isdecimal() or word in modalities]


def language_model_of(grammar: Grammar, shapes: Mapping[str, tuple[int, ...]], token: float) -> ToyLanguageModel:
    """A language model that writes what its prompt says, `token` seconds a token. It ignores all other words.

    A run takes as long as one token, as in an engine that feeds the rest of a run in one go.
    """
    runs = {run.modality: run.ids for run in grammar.runs}
    wait: list[Token] = [Pause(token)] if token else []

    def script(prompt: Prompt) -> Iterator[Token]:
        said = [part for part in prompt.turns[-1].parts if isinstance(part, str)]
        for wanted in script_of(" ".join(said), runs):
            if isinstance(wanted, str):
                yield from [*wait, *runs[wanted]]
            else:
                for letter in islice(cycle(_LETTERS), wanted):
                    yield from [*wait, ord(letter)]

    return ToyLanguageModel(grammar, script, shapes=shapes)
