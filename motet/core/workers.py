"""What the orchestrator needs of others: three protocols, and what they say to each other.

A worker is a Python object with one method; the wire is an adapter on either side of it. Whoever holds `Workers`
cannot tell a local object from a client of a remote one.

Every method takes a `Deadline` and must stop soon after it has passed, after its generator is closed, and after its
task is cancelled: a language model within one token, a decoder within one denoising step.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, cast

from motet.core.deadline import Deadline
from motet.core.media import Media
from motet.core.tensors import Tensor

Role = Literal["user", "assistant"]


class Encoder(Protocol):
    """Maps media to embeddings of one joint space."""

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """One embedding per item, in order: float32, shape (width,).

        `tenant` and `priority` say on whose behalf and how urgently (higher goes first); they decide when it is worked
        on, never what comes out.

        Raises `MediaError` for an item that cannot be read, naming its index in `metadata["index"]`.
        """
        ...


@dataclass(frozen=True, slots=True)
class Embedding:
    """Encoded media inside a turn; the embedding stands where the media stood."""

    modality: str
    tensor: Tensor


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a conversation, its media already encoded. Text is data: it can never hold control tokens."""

    role: Role
    parts: tuple[str | Embedding, ...]


@dataclass(frozen=True, slots=True)
class Prompt:
    """All a language model is told.

    `ceilings` says how many pieces of each modality may be asked for; a modality it leaves out may not be asked for
    at all. `max_tokens` counts signal tokens too. `temperature` 0 takes the likeliest token. `tenant` and `priority`
    say on whose behalf and how urgently (higher goes first); they decide when it is worked on, never what comes out.
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
    """Text that was just written; pieces are whole code points, and joined they are the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class SignalStarted:
    """The first token of a run was sampled; a `Signal` or a `SignalBroken` of this modality follows."""

    modality: str


@dataclass(frozen=True, slots=True)
class Signal:
    """A whole run was sampled: a piece of media is wanted, and this is what its decoder is conditioned on.

    `conditioning` has the shape that the bundle's manifest gives for the decoder.
    """

    modality: str
    conditioning: Tensor


@dataclass(frozen=True, slots=True)
class SignalBroken:
    """A run did not go on as it must, so nothing can be made of it; `message` says how."""

    modality: str
    message: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The language model has stopped: because it was done, or because it reached `max_tokens`."""

    reason: Literal["stop", "length"]
    input_tokens: int
    output_tokens: int


LanguageEvent = TextPiece | SignalStarted | Signal | SignalBroken | Finished


class LanguageModel(Protocol):
    """Reads a conversation and writes the answer, asking for media by signal tokens."""

    def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Any number of pieces and signals, then exactly one `Finished`."""
        ...


@dataclass(frozen=True, slots=True)
class DecodeJob:
    """One piece of media to make. Jobs that want the same make equal bytes, unless `min_steps` lets one be hurried.

    `steps` and `guidance` are None for the bundle's own. `previews` asks for a small early picture of the result in
    some of the `Progress` events. `inputs` holds the media of the steps this one needs, in their order.

    `tenant` and `priority` say on whose behalf and how urgently (higher goes first); they decide when it is worked on,
    never what comes out. `min_steps` is the caller's leave to take fewer steps, but no fewer than this, where the
    deadline would be missed otherwise; None is no leave. `Progress.total` tells the steps really taken.
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
    """`step` of `total` denoising steps are done; `preview` is a still picture of what is coming, or None."""

    step: int
    total: int
    preview: Media | None = None


class Decoder(Protocol):
    """Makes media of one modality from conditioning."""

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Any number of `Progress`, then exactly one `Media`.

        Raises `RequestError` with reason CONDITIONING_INVALID or MODALITY_NOT_SUPPORTED for a job it cannot do.
        """
        ...


class Reservation(Protocol):
    """A `Decoder` for one job that is about to be known; what can be done for it before has begun."""

    def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """As `Decoder.decode`, once."""
        ...

    def release(self) -> None:
        """It is not needed (any more). Changes nothing once the job is being decoded, or when told again."""
        ...


class Reservable(Protocol):
    """A `Decoder` that can make itself ready for a job before it is known. Decoders need not be able to."""

    def reserve(self, *, steps: int | None, tenant: str, priority: int) -> Reservation:
        """A place for a job that will have these fields, for a bounded time."""
        ...


def reservable(decoder: Decoder) -> Reservable | None:
    """The decoder as one that can reserve, if it can."""
    return cast("Reservable", decoder) if hasattr(decoder, "reserve") else None


@dataclass(frozen=True, slots=True)
class Workers:
    """All that answering a prompt takes: an encoder, a language model, and a decoder per modality."""

    encoder: Encoder
    language_model: LanguageModel
    decoders: Mapping[str, Decoder]
