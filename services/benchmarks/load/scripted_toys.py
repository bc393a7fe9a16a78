"""Toy workers whose output the prompt scripts, so that a load controls its mix of text and media.

For the prompt "30 image 20 audio" the language model generates 30 tokens of text, a signal for an image, 20 tokens of
text and a signal for a sound. `ToyTimings` sets the time that each worker takes.
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
class ToyTimings:
    """Seconds that toy workers take for an encoder call, for a token and, by modality, for a denoising step.

    `steps` is the number of denoising steps of a decoder, `media_bytes` the size of its media.
    """

    encode: float = 0.0
    token: float = 0.0
    step: Mapping[str, float] = field(default_factory=dict)
    steps: int = 20
    media_bytes: int = 64

    def step_of(self, modality: str) -> float:
        """Return the seconds of a denoising step of a modality."""
        return self.step.get(modality, 0.0)


def scripted_prompt(modalities: Sequence[str], before: int, between: int, after: int) -> str:
    """Return a prompt for media of these modalities.

    `before`, `between` and `after` are the tokens of text before the first media, between media, and after the last.
    """
    words = [str(before)]
    for modality in modalities:
        words += [modality, str(between)]
    return " ".join([*words[:-1], str(after)])


def parse_script(text: str, modalities: Collection[str]) -> list[int | str]:
    """Return the numbers of tokens and the modalities in a prompt, in order. All other words are ignored."""
    words = text.split()
    return [int(word) if word.isdecimal() else word for word in words if word.isdecimal() or word in modalities]


def prompt_text(prompt: Prompt) -> str:
    """Return the text of the last turn of a prompt."""
    return " ".join(part for part in prompt.turns[-1].parts if isinstance(part, str))


def scripted_language_model(grammar: Grammar, shapes: Mapping[str, tuple[int, ...]], token: float) -> ToyLanguageModel:
    """Return a language model that follows the script in its prompt and takes `token` seconds a token.

    A run of signal tokens takes as long as one token, as in an engine that feeds the rest of a run in one forward.
    """
    runs = {run.modality: run.ids for run in grammar.runs}
    pause: list[Token] = [Pause(token)] if token else []

    def generate(prompt: Prompt) -> Iterator[Token]:
        for item in parse_script(prompt_text(prompt), runs):
            if isinstance(item, str):
                yield from [*pause, *runs[item]]
            else:
                for letter in islice(cycle(_LETTERS), item):
                    yield from [*pause, ord(letter)]

    return ToyLanguageModel(grammar, generate, shapes=shapes)
