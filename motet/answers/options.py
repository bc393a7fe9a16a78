"""Requests from prompts and options."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict, TypeVar

from motet.core.errors import RequestError
from motet.core.events import TEXT
from motet.core.request import Content, DecoderOptions, FailurePolicy, GenerationRequest, Message

Item = TypeVar("Item")

Prompt = str | Sequence[Message] | GenerationRequest
"""A text, the messages of a conversation, or a complete request."""


class AnswerOptions(TypedDict, total=False):
    """The options of a request. An absent option is the default of `GenerationRequest`, which describes each field.

    `steps`, `guidance` and `min_steps` map a modality to a number, see `DecoderOptions`.
    """

    model: str
    request_id: str
    allowed_modalities: Collection[str] | None
    failure_policy: FailurePolicy
    seed: int | None
    detach: bool
    previews: bool
    max_output_tokens: int | None
    max_parts: Mapping[str, int]
    timeout: float | None
    temperature: float
    top_p: float
    steps: Mapping[str, int]
    guidance: Mapping[str, float]
    min_steps: Mapping[str, int]
    tenant: str
    priority: int


def request_of(prompt: Prompt, media: Sequence[Content], options: AnswerOptions) -> GenerationRequest:
    """Return the request for a prompt. Media belong to a text. An option replaces the field of a complete request.

    Raise `RequestError` for media beside messages, and `TypeError` for an unknown option.
    """
    if isinstance(prompt, str):
        request = GenerationRequest((user_message(prompt, media),))
    elif media:
        raise RequestError("media belong to a text: put them into the messages of the request")
    else:
        request = prompt if isinstance(prompt, GenerationRequest) else GenerationRequest(tuple(prompt))
    fields: dict[str, Any] = dict(options)
    numbers = [fields.pop(name, {}) for name in ("steps", "guidance", "min_steps")]
    if any(numbers):
        fields["decoder_options"] = decoder_options_of(*numbers)
    if (allowed := fields.get("allowed_modalities")) is not None:
        # A single name is a collection of its letters.
        names = {allowed} if isinstance(allowed, str) else allowed
        fields["allowed_modalities"] = frozenset(names) - {TEXT}
    return replace(request, **fields)


def user_message(text: str, media: Iterable[Content]) -> Message:
    """Return a user's message, see `user_parts`."""
    return Message("user", user_parts(text, media))


def user_parts(text: str, media: Iterable[Item]) -> tuple[Item | str, ...]:
    """Return the parts of a user's turn: the media first, as in the training data, then the text, if there is any."""
    parts = tuple(media)
    return (*parts, text) if text or not parts else parts


def decoder_options_of(
    steps: Mapping[str, int], guidance: Mapping[str, float], min_steps: Mapping[str, int]
) -> dict[str, DecoderOptions]:
    """Return the options of each decoder from one mapping for each option."""
    return {
        modality: DecoderOptions(steps.get(modality), guidance.get(modality), min_steps.get(modality))
        for modality in sorted({*steps, *guidance, *min_steps})
    }
