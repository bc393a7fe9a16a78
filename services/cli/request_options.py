"""What a person wants of an answer, from the command line to the request."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from motet.core.errors import RequestError
from motet.core.events import TEXT
from motet.core.request import Content, DecoderOptions, GenerationRequest, Message


@dataclass(frozen=True, slots=True)
class RequestOptions:
    """How an answer is to be made; None is the model's or the server's own choice. `timeout` is in seconds.

    `only` names the modalities that may be made besides text; `steps`, `guidance` and `min_steps` go by modality.
    """

    seed: int | None = None
    timeout: float | None = None
    only: frozenset[str] | None = None
    steps: Mapping[str, int] = field(default_factory=dict)
    guidance: Mapping[str, float] = field(default_factory=dict)
    min_steps: Mapping[str, int] = field(default_factory=dict)
    priority: int = 0

    def request(self, turns: Sequence[Message]) -> GenerationRequest:
        """The request for an answer to a conversation."""
        return GenerationRequest(
            tuple(turns),
            allowed_modalities=None if self.only is None else self.only - {TEXT},
            seed=self.seed,
            timeout=self.timeout,
            decoder_options={
                modality: DecoderOptions(
                    self.steps.get(modality), self.guidance.get(modality), self.min_steps.get(modality)
                )
                for modality in sorted({*self.steps, *self.guidance, *self.min_steps})
            },
            priority=self.priority,
        )


def request_options_of(
    seed: int | None,
    timeout: float | None,
    only: str | None,
    steps: Sequence[str],
    guidance: Sequence[str],
    min_steps: Sequence[str] = (),
    priority: int = 0,
) -> RequestOptions:
    """Wishes as they were typed: `only` is comma-separated; `steps`, `guidance` and `min_steps` are MODALITY=NUMBER.

    Raises `RequestError`, naming the option, for what cannot be read.
    """
    allowed = None if only is None else frozenset(name.strip() for name in only.split(",") if name.strip())
    scales, least = dict(_numbers(guidance, "--guidance")), _whole_numbers(min_steps, "--min-steps")
    return RequestOptions(seed, timeout, allowed, _whole_numbers(steps, "--steps"), scales, least, priority)


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


def _whole_numbers(pairs: Sequence[str], option: str) -> dict[str, int]:
    found = {}
    for modality, number in _numbers(pairs, option):
        if not number.is_integer():
            raise RequestError(f"{option} takes a whole number for {modality}, not {number}")
        found[modality] = int(number)
    return found
