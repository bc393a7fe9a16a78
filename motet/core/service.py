"""The protocol of Motet, the same in this process and over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Protocol

from motet.core.caller import Caller
from motet.core.events import Artifact, Event, Generation
from motet.core.media import Media
from motet.core.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Output:
    """An output modality of a model, with the defaults of its decoder.

    `available` is false while no decoder of the modality can be reached. `takes` has one item per medium that a part of
    the modality takes: the possible modalities of this medium.
    """

    modality: str
    media_type: str
    steps: int
    guidance: float
    max_parts: int
    available: bool = True
    takes: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Model:
    """The capabilities and limits of a model. Equal digests mean equal weights, which produce equal bytes.

    `available` is false while no language model can be reached, `input_available` while no encoder can be reached.
    """

    name: str
    description: str
    licence: str
    digest: str
    input_modalities: tuple[str, ...]
    outputs: tuple[Output, ...]
    max_output_tokens: int
    max_duration: float
    max_media_bytes: int
    max_input_media: int
    available: bool = True
    input_available: bool = True


MotetOf = Callable[[Caller], "Motet"]
"""Returns Motet as a caller sees it. Names of other tenants do not exist for the caller."""


@dataclass(frozen=True, slots=True)
class Quota:
    """A limit of the caller's tenant. The names that end with `_per_minute` refill with time.

    `remaining` is what is left now. It is negative if work cost more than was left.
    """

    name: str
    limit: float
    remaining: float


class Motet(Protocol):
    """A service that generates any mix of modalities from any mix. The orchestrator and the client implement it."""

    def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Yield the events of a new generation, from `Accepted` to `Done`.

        Closing the iterator cancels the generation, unless `request.detach` is set. Raise `MotetError` before the first
        event if the request is refused. A later failure is reported in `Done` and raises no error.
        """
        ...

    def watch(self, name: str, after_sequence: int = 0) -> AsyncIterator[Event]:
        """Yield past and future events after a sequence number. Raise `NotFoundError` for an unknown name."""
        ...

    async def get(self, name: str) -> Generation:
        """Return the record of a generation. Raise `NotFoundError` for an unknown name."""
        ...

    async def generations(self, page_size: int = 0, page_token: str = "") -> tuple[list[Generation], str]:
        """Return a page of generations, newest first, and the token of the next page, or "" for the last page."""
        ...

    async def cancel(self, name: str) -> Generation:
        """Cancel a generation. Return when no worker runs a call of it. Raise `NotFoundError` for an unknown name."""
        ...

    async def upload(self, media: Media) -> Artifact:
        """Store media for use in a prompt. Raise `MediaError` if the media cannot be read."""
        ...

    def download(self, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        """Yield the bytes of an artifact from an offset, in chunks. Raise `NotFoundError` for an unknown name."""
        ...

    async def delete(self, name: str) -> None:
        """Delete an artifact. Do nothing if it does not exist."""
        ...

    async def models(self) -> list[Model]:
        """Return the models that the service offers."""
        ...

    async def quotas(self) -> list[Quota]:
        """Return the quotas of the caller's tenant that have a limit."""
        ...
