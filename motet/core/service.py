"""The whole of Motet as its callers see it: one protocol, whether it runs in this process or behind a wire."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from motet.core.events import Artifact, Event, Generation
from motet.core.media import Media
from motet.core.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Output:
    """A modality that a model makes, and how, unless told otherwise."""

    modality: str
    media_type: str
    steps: int
    guidance: float
    max_parts: int


@dataclass(frozen=True, slots=True)
class Model:
    """What a caller may ask of a model; `digest` names its weights: the same digest makes the same bytes."""

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


class Motet(Protocol):
    """Any mix in, any mix out. The orchestrator is one, and so is the client of a remote one."""

    def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        """Answer a request: `Accepted` first, `Done` last; closing the iterator cancels, unless the request detaches.

        Raises `MotetError` before any event when the request cannot be taken. A generation that fails later says so
        in `Done`; nothing is raised then.
        """
        ...

    def watch(self, name: str, after_sequence: int = 0) -> AsyncIterator[Event]:
        """Replay a generation's events after a sequence and follow it to its end. Raises `NotFoundError`."""
        ...

    async def get(self, name: str) -> Generation:
        """The record of a generation. Raises `NotFoundError`."""
        ...

    async def generations(self, page_size: int = 0, page_token: str = "") -> tuple[list[Generation], str]:
        """A page of generations, newest first, and the token of the next page, "" for none."""
        ...

    async def cancel(self, name: str) -> Generation:
        """Stop a generation; returns once no worker holds work for it. Raises `NotFoundError`."""
        ...

    async def upload(self, media: Media) -> Artifact:
        """Keep media for use in a prompt. Raises `MediaError` for what cannot be read."""
        ...

    def download(self, name: str, offset: int = 0) -> AsyncIterator[bytes]:
        """The bytes of an artifact from an offset, in chunks. Raises `NotFoundError`."""
        ...

    async def delete(self, name: str) -> None:
        """Forget an artifact, if it is there."""
        ...

    async def models(self) -> list[Model]:
        """The models that are served."""
        ...
