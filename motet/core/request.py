"""The request of a caller, and the bounds of numbers that the client, the server and the workers check alike."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from motet.core.errors import Reason, RequestError
from motet.core.media import MAX_MEDIA_BYTES, Media
from motet.core.workers import DecodeJob, Prompt, Role

MAX_SEED = 2**64 - 1
MAX_TEMPERATURE = 5.0
MAX_OUTPUT_TOKENS = 32_768
MAX_COUNT = 2**31 - 1
"""Maximum of the other counts: the maximum of their fields. A server lowers a higher limit to its own."""
MAX_INT64 = 2**63 - 1
"""Maximum of a position: the maximum of its field."""
MAX_PARTS = 4096
"""Maximum number of parts in all turns of a conversation."""
MAX_STEPS = 1000
MAX_GUIDANCE = 50.0
MAX_INPUTS = 3
"""Maximum number of a job's inputs."""
MIN_TIMEOUT, MAX_TIMEOUT = 0.001, 7 * 86_400.0
"""Bounds of every timeout, in seconds: a millisecond and a week."""
ARTIFACTS, GENERATIONS = "artifacts", "generations"
"""The collections of resources, whose names are COLLECTION/ID."""
_ID = re.compile("[a-z0-9-]{1,63}")
_UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ArtifactName:
    """The name of media that the server stores, "artifacts/..."."""

    name: str


PRIORITIES = range(-2, 3)
"""The priorities, from -2 (lowest) to 2 (highest). The default is 0."""

Content = str | Media | ArtifactName


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation in a request: text and media, in order."""

    role: Role
    parts: tuple[Content, ...]


class FailurePolicy(Enum):
    """The effect of a failed part on the other parts."""

    BEST_EFFORT = "best effort"
    """The other parts continue."""
    ALL_OR_NOTHING = "all or nothing"
    """The other parts are cancelled and the generation fails."""
    TEXT_FALLBACK = "text fallback"
    """The other parts continue. A text part with the failed part's caption replaces the failed part."""


@dataclass(frozen=True, slots=True)
class DecoderOptions:
    """The options of one decoder. None selects the model's default.

    With `min_steps` the decoder may reduce the steps to meet the deadline, but not below this number. None allows no
    reduction.
    """

    steps: int | None = None
    guidance: float | None = None
    min_steps: int | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A request to answer a conversation. `motet.v1.GenerateRequest` describes every field.

    None means that the field is absent. `allowed_modalities` None allows all modalities, an empty set allows only text.
    `timeout` is in seconds. `priority` is in `PRIORITIES`; higher priorities run first. The server reduces a limit or a
    priority above its own maximum to this maximum.
    """

    turns: tuple[Message, ...]
    model: str = ""
    request_id: str = ""
    allowed_modalities: frozenset[str] | None = None
    failure_policy: FailurePolicy = FailurePolicy.BEST_EFFORT
    seed: int | None = None
    detach: bool = False
    previews: bool = False
    max_output_tokens: int | None = None
    max_parts: Mapping[str, int] = field(default_factory=dict)
    timeout: float | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    decoder_options: Mapping[str, DecoderOptions] = field(default_factory=dict)
    tenant: str = ""
    priority: int = 0


def check_range(what: str, value: float | None, minimum: float, maximum: float) -> None:
    """Raise `RequestError` if a value is out of its bounds, or not a number. None passes."""
    if value is not None and not minimum <= value <= maximum:
        metadata = {"field": what, "value": str(value)}
        raise RequestError(f"{what} must be from {minimum} to {maximum}, not {value}", metadata=metadata)


def check_timeout(what: str, seconds: float | None) -> None:
    """Raise `RequestError` for a timeout that no server accepts. None passes."""
    if seconds is not None and not MIN_TIMEOUT <= seconds <= MAX_TIMEOUT:
        raise RequestError(
            f"{what} must be from {MIN_TIMEOUT} to {MAX_TIMEOUT:.0f} seconds (7 days), not {seconds}",
            metadata={"field": what, "value": str(seconds)},
        )


def check_name(collection: str, name: str) -> None:
    """Raise `RequestError` unless a resource has a name of its collection, such as "artifacts/1f-3"."""
    prefix, _, identifier = name.partition("/")
    if prefix != collection or not _ID.fullmatch(identifier):
        raise RequestError(
            f'{name!r} is not a name of the form "{collection}/ID": use the name that the server returned',
            metadata={"field": "name", "value": name},
        )


def check_request_id(request_id: str) -> None:
    """Raise `RequestError` for a request id that is not a UUID. "" passes."""
    if request_id and not _UUID.fullmatch(request_id):
        raise RequestError(
            f"request_id must be a UUID, not {request_id!r}", metadata={"field": "request_id", "value": request_id}
        )


def check_numbers(request: GenerationRequest) -> None:
    """Raise `RequestError` if a number of the request is out of the bounds that all servers have."""
    check_range("seed", request.seed, 0, MAX_SEED)
    check_range("temperature", request.temperature, 0, MAX_TEMPERATURE)
    check_range("top_p", request.top_p, 0, 1)
    check_range("priority", request.priority, PRIORITIES[0], PRIORITIES[-1])
    check_range("max_output_tokens", request.max_output_tokens, 1, MAX_OUTPUT_TOKENS)
    check_timeout("timeout", request.timeout)
    for modality, count in request.max_parts.items():
        check_range(f"max_parts of {modality}", count, 0, MAX_COUNT)
    for modality, options in request.decoder_options.items():
        _check_decoding(f" of {modality}", options)


def check_prompt(prompt: Prompt) -> None:
    """Raise `RequestError` if a number of a language model's prompt is out of its bounds."""
    check_range("seed", prompt.seed, 0, MAX_SEED)
    check_range("temperature", prompt.temperature, 0, MAX_TEMPERATURE)
    if not 0 < prompt.top_p <= 1:
        raise RequestError(f"top_p must be above 0 and at most 1, not {prompt.top_p}")
    check_range("priority", prompt.priority, PRIORITIES[0], PRIORITIES[-1])
    check_range("max_tokens", prompt.max_tokens, 1, MAX_OUTPUT_TOKENS)
    for modality, count in prompt.ceilings.items():
        check_range(f"the ceiling of {modality}", count, 0, MAX_COUNT)


def check_job(job: DecodeJob) -> None:
    """Raise `RequestError` if a number of a decoder's job, or the size of its inputs, is out of its bounds."""
    check_range("seed", job.seed, 0, MAX_SEED)
    check_range("priority", job.priority, PRIORITIES[0], PRIORITIES[-1])
    _check_decoding("", job)
    if job.inputs:
        _check_inputs(job.inputs)


def _check_inputs(inputs: Sequence[Media]) -> None:
    if len(inputs) > MAX_INPUTS:
        message = f"a job may have at most {MAX_INPUTS} inputs, not {len(inputs)}"
        raise RequestError(message, Reason.LIMIT_EXCEEDED, {"limit": str(MAX_INPUTS)})
    for number, media in enumerate(inputs, 1):
        if len(media.data) > MAX_MEDIA_BYTES:
            raise RequestError(
                f"input {number} of a job may have at most {MAX_MEDIA_BYTES} bytes, not {len(media.data)}",
                Reason.INPUT_TOO_LARGE,
                {"limit": str(MAX_MEDIA_BYTES)},
            )


def _check_decoding(where: str, options: DecoderOptions | DecodeJob) -> None:
    check_range(f"steps{where}", options.steps, 1, MAX_STEPS)
    check_range(f"min_steps{where}", options.min_steps, 1, MAX_STEPS)
    check_range(f"guidance{where}", options.guidance, 1, MAX_GUIDANCE)
