"""What a person wants of an answer, from the command line to the request."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from motet.core.errors import RequestError
from motet.core.events import TEXT
from motet.core.request import Content, DecoderOptions, GenerationRequest, Message


@dataclass(frozen=True, slots=True)
class Wishes:
    """How an answer is to be made; None is the model's or the server's own choice. `timeout` is in seconds.

    `only` names the modalities that may be made besides text; `steps` and `guidance` go by modality.
    """

    seed: int | None = None
    timeout: float | None = None
    only: frozenset[str] | None = None
    steps: Mapping[str, int] = field(default_factory=dict)
    guidance: Mapping[str, float] = field(default_factory=dict)

    def request(self, turns: Sequence[Message]) -> GenerationRequest:
        """The request for an answer to a conversation."""
        return GenerationRequest(
            tuple(turns),
            allowed_modalities=None if self.only is None else self.only - {TEXT},
            seed=self.seed,
            timeout=self.timeout,
            decoder_options={
                modality: DecoderOptions(self.steps.get(modality), self.guidance.get(modality))
                for modality in sorted({*self.steps, *self.guidance})
            },
        )


def wishes_of(
    seed: int | None, timeout: float | None, only: str | None, steps: Sequence[str], guidance: Sequence[str]
) -> Wishes:
    """Wishes as they were typed: `only` is comma-separated, `steps` and `guidance` are MODALITY=NUMBER.

    Raises `RequestError`, naming the option, for what cannot be read.
    """
    allowed = None if only is None else frozenset(name.strip() for name in only.split(",") if name.strip())
    whole = {modality: _whole(modality, number) for modality, number in _numbers(steps, "--steps")}
    return Wishes(seed, timeout, allowed, whole, dict(_numbers(guidance, "--guidance")))


def prompt_of(typed: str) -> str:
    """What was typed; "-" is what standard input holds. Raises `RequestError` for what is not text."""
    try:
        if typed == "-":
            return sys.stdin.buffer.read().decode()
        # Arguments that are no UTF-8 arrive with their bytes in disguise.
        return typed.encode().decode()
    except UnicodeError:
        raise RequestError("the prompt is not UTF-8: give it as text") from None


def user_turn(text: str, media: Iterable[Content]) -> Message:
    """A person's turn: the media first, as the model was taught, then what is said about them."""
    shown = tuple(media)
    return Message("user", (*shown, text) if text or not shown else shown)


def _numbers(pairs: Sequence[str], option: str) -> Iterator[tuple[str, float]]:
    for pair in pairs:
        modality, _, number = pair.rpartition("=")
        try:
            if not modality:
                raise ValueError
            yield modality, float(number)
        except ValueError:
            raise RequestError(f"{option} takes MODALITY=NUMBER, not {pair!r}") from None


def _whole(modality: str, number: float) -> int:
    if not number.is_integer():
        raise RequestError(f"--steps takes a whole number for {modality}, not {number}")
    return int(number)
