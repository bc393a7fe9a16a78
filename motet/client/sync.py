"""The client for code without an event loop."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Self

import grpc

from motet.client.client import Client
from motet.client.loop_thread import LoopThread
from motet.core.answer import Answer
from motet.core.events import Artifact, Event, Generation
from motet.core.media import Media
from motet.core.request import GenerationRequest
from motet.core.service import Model


class SyncClient:
    """A `Client` for code without an event loop: the same calls, which wait. `with` closes it."""

    def __init__(
        self, address: str, *, credentials: grpc.ChannelCredentials | None = None, timeout: float = 30.0
    ) -> None:
        self._thread = LoopThread()

        async def made() -> Client:
            return Client(address, credentials=credentials, timeout=timeout)

        try:
            self._client = self._thread.run(made())
        except BaseException:
            self._thread.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._thread.run(self._client.close())
        self._thread.close()

    def answer(
        self, request: GenerationRequest | str, media: Sequence[Media] = (), *, seed: int | None = None
    ) -> Answer:
        """As `Client.answer`."""
        return self._thread.run(self._client.answer(request, media, seed=seed))

    def generate(self, request: GenerationRequest) -> Generator[Event, None, None]:
        """As `Client.generate`."""
        return self._thread.read(self._client.generate(request))

    def watch(self, name: str, after_sequence: int = 0) -> Generator[Event, None, None]:
        """As `Client.watch`."""
        return self._thread.read(self._client.watch(name, after_sequence))

    def get(self, name: str) -> Generation:
        """As `Client.get`."""
        return self._thread.run(self._client.get(name))

    def generations(self, page_size: int = 0, page_token: str = "") -> tuple[list[Generation], str]:
        """As `Client.generations`."""
        return self._thread.run(self._client.generations(page_size, page_token))

    def cancel(self, name: str) -> Generation:
        """As `Client.cancel`."""
        return self._thread.run(self._client.cancel(name))

    def upload(self, media: Media) -> Artifact:
        """As `Client.upload`."""
        return self._thread.run(self._client.upload(media))

    def download(self, name: str, offset: int = 0) -> Generator[bytes, None, None]:
        """As `Client.download`."""
        return self._thread.read(self._client.download(name, offset))

    def delete(self, name: str) -> None:
        """As `Client.delete`."""
        self._thread.run(self._client.delete(name))

    def models(self) -> list[Model]:
        """As `Client.models`."""
        return self._thread.run(self._client.models())
