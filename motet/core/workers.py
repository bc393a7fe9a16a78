"""The three worker protocols of the orchestrator, with their inputs and outputs.

A worker is a Python object with one method. gRPC clients and servicers are adapters for it, so `Workers` holds local
and remote workers alike.

Every method takes a `Deadline`. It must stop after the deadline, after its generator is closed, and after its task is
cancelled: a language model within one token, a decoder within one denoising step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast

from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.tensors import Tensor

Role = Literal["user", "assistant"]

REPORT_INTERVAL = 5.0
"""Maximum interval between a worker's load reports, in seconds. A worker without reports counts as unhealthy."""


class Encoder(Protocol):
    """An encoder of media into one joint embedding space."""

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """Return one embedding per item, in order: float32, shape (width,).

        `tenant` and `priority` (higher runs first) only affect the scheduling, never the result.

        Raise `MediaError` for an item that cannot be read, with its index in `metadata["index"]`.
        """
        ...


NOT_ENCODED = Tensor("float32", (0,), b"")
"""The embedding of media in a turn of the assistant. The model reads the signal run that requested them instead."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Encoded media in a turn, at the position of the media. `tensor` is `NOT_ENCODED` in a turn of the assistant."""

    modality: str
    tensor: Tensor


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation, with its media encoded. Text is data: it never becomes control tokens."""

    role: Role
    parts: tuple[str | Embedding, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """The input of a language model.

    `ceilings` is the maximum number of signals per modality, 0 for a modality that is absent. `max_tokens` limits the
    output tokens, signal tokens included. `temperature` 0 selects the most likely token. `tenant` and `priority`
    (higher runs first) only affect the scheduling, never the result.
    """

    turns: tuple[Turn, ...]
    ceilings: Mapping[str, int] = field(default_factory=dict)
    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    tenant: str = ""
    priority: int = 0


@dataclass(frozen=True, slots=True)
class TextPiece:
    """New text, in complete code points. The pieces joined are the text of the response."""

    text: str


@dataclass(frozen=True, slots=True)
class SignalStarted:
    """The first token of a run was sampled. A `Signal` or a `SignalBroken` of this modality follows."""

    modality: str


@dataclass(frozen=True, slots=True)
class Signal:
    """A complete run was sampled: a request for one media part.

    `conditioning` is the decoder's conditioning, in the shape that the bundle's manifest states for the decoder.
    """

    modality: str
    conditioning: Tensor


@dataclass(frozen=True, slots=True)
class SignalBroken:
    """A run is incomplete and requests no media. `message` describes the error."""

    modality: str
    message: str


@dataclass(frozen=True, slots=True)
class SignalSuppressed:
    """The model requested media that the prompt does not permit. No media take their place.

    `limit` is "ceiling" if the modality has no signal left, and "length" if the run has more tokens than are left.
    """

    modality: str
    limit: Literal["ceiling", "length"]


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of the response. `reason` is "stop" after the end token, "length" if no further token may follow.

    `omitted_turns` is the number of the conversation's oldest turns that did not fit and that the model did not read.
    """

    reason: Literal["stop", "length"]
    input_tokens: int
    output_tokens: int
    omitted_turns: int = 0


LanguageEvent = TextPiece | SignalStarted | Signal | SignalBroken | SignalSuppressed | Finished


class LanguageModel(Protocol):
    """A language model that answers a conversation with text and signals."""

    def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Yield text pieces and signals, then exactly one `Finished`."""
        ...


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """The input of a decoder. Equal jobs produce equal bytes, unless `min_steps` is set.

    `steps` and `guidance` None select the bundle's defaults. `previews` requests a small preview of the result in some
    of the `Progress` events. `inputs` holds the media that the decoder takes, in the order of the manifest.

    `tenant` and `priority` (higher runs first) only affect the scheduling, never the result.

    With `min_steps` the decoder may reduce the steps to meet the deadline, but not below this number. None allows no
    reduction. `Progress.total` is the actual number of steps.
    """

    modality: str
    conditioning: Tensor
    seed: int
    steps: int | None = None
    guidance: float | None = None
    previews: bool = False
    inputs: tuple[Media, ...] = ()
    tenant: str = ""
    priority: int = 0
    min_steps: int | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a job: `step` of `total` denoising steps are done. `preview` is an early picture, or None."""

    step: int
    total: int
    preview: Media | None = None


class Decoder(Protocol):
    """A decoder from conditioning to media of one modality."""

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Yield any number of `Progress`, then exactly one `Media`.

        Raise `RequestError` with reason CONDITIONING_INVALID or MODALITY_NOT_SUPPORTED for an invalid job.
        """
        ...


class Reservation(Protocol):
    """A reserved slot of a `Decoder` for one future job."""

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Run a job in the reserved slot, see `Decoder.decode`. Call this method at most once."""
        ...

    def release(self) -> None:
        """Release the slot. Do nothing if the job runs or the slot was released before."""
        ...


class Reservable(Protocol):
    """A `Decoder` that can reserve a slot before the job is known. This protocol is optional for decoders."""

    def reserve(self, *, steps: int | None, tenant: str, priority: int) -> Reservation:
        """Reserve a slot for a job with these fields, for a limited time."""
        ...


def reservable(decoder: Decoder) -> Reservable | None:
    """Return the decoder if it has `reserve`, else None."""
    return cast("Reservable", decoder) if hasattr(decoder, "reserve") else None


def predicted_seconds(worker: Encoder | Decoder, units: int) -> float:
    """Return how long a worker is predicted to take, in seconds, or 0 if it does not predict anything.

    `units` are the denoising steps of a decoder or the media of an encoder.
    """
    predict = getattr(worker, "predicted_seconds", None)
    return float(predict(units)) if predict and units else 0.0


def is_available(worker: Encoder | LanguageModel | Decoder) -> bool:
    """Return whether a worker can be reached: its property `available`, or True if it has none."""
    return bool(getattr(worker, "available", True))


@dataclass(frozen=True, slots=True)
class Workers:
    """The workers of a model: an encoder, a language model, and a decoder per modality."""

    encoder: Encoder
    language_model: LanguageModel
    decoders: Mapping[str, Decoder]


@dataclass(frozen=True, slots=True)
class Load:
    """A worker's load at one moment.

    `running` is the number of running calls, at most `slots` (0: no limit). `queued` is the number of queued calls. The
    worker refuses a call if `running + queued` is `limit` (0: no limit). `seconds` is the predicted work of all running
    and queued calls. `bundle_digest` names the model that the worker serves, "" if it serves no particular model.
    """

    running: int = 0
    queued: int = 0
    limit: int = 0
    draining: bool = False
    bundle_digest: str = ""
    slots: int = 0
    seconds: float = field(default=0.0, compare=False)
