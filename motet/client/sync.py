"""The blocking client."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Self, Unpack

import grpc

from motet.answers.answer import Answer
from motet.answers.options import AnswerOptions, Prompt
from motet.client.client import Client
from motet.client.loop_thread import LoopThread
from motet.client.sync_stream import SyncAnswerStream, SyncConversation
from motet.core.events import Artifact, Event, Generation
from motet.core.media import Media
from motet.core.request import Content, GenerationRequest
from motet.core.service import Model, Quota
from motet.transport.channel import is_forked


class SyncClient:
    """A blocking `Client` for code without an event loop. Its methods are the methods of `Client`. `with` closes it."""

    def __init__(
        self,
        address: str | None = None,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
        metadata: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        answer_timeout: float = 600.0,
        retries: int = 2,
        proxy: str | None = None,
        allow_insecure: bool = False,
    ) -> None:
        self._thread = LoopThread.shared()

        async def connect() -> Client:
            return Client(
                address,
                credentials=credentials,
                api_key=api_key,
                metadata=metadata,
                timeout=timeout,
                answer_timeout=answer_timeout,
                retries=retries,
                proxy=proxy,
                allow_insecure=allow_insecure,
            )

        self._client = self._thread.run(connect())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection, see `Client.close`. Do nothing in a forked process."""
        if not is_forked():
            self._thread.run(self._client.close())

    def answer(self, prompt: Prompt, media: Sequence[Content] = (), **options: Unpack[AnswerOptions]) -> Answer:
        """Return the complete answer to a prompt, see `Client.answer`."""
        return self._thread.run(self._client.answer(prompt, media, **options))

    @contextmanager
    def stream(
        self, prompt: Prompt, media: Sequence[Content] = (), **options: Unpack[AnswerOptions]
    ) -> Iterator[SyncAnswerStream]:
        """Yield the answer to a prompt as a stream, see `Client.stream`."""
        with self._thread.enter(self._client.stream(prompt, media, **options)) as stream:
            yield SyncAnswerStream(stream, self._thread)

    def conversation(self, **options: Unpack[AnswerOptions]) -> SyncConversation:
        """Return a new conversation, see `Client.conversation`."""
        return SyncConversation(self._client.conversation(**options), self._thread)

    def generate(self, request: GenerationRequest) -> Generator[Event, None, None]:
        """Yield the events of a new generation, see `Client.generate`."""
        return self._thread.read(self._client.generate(request))

    def watch(self, name: str, after_sequence: int = 0) -> Generator[Event, None, None]:
        """Yield the events of an existing generation, see `Client.watch`."""
        return self._thread.read(self._client.watch(name, after_sequence))

    def get(self, name: str) -> Generation:
        """Return the record of a generation, see `Client.get`."""
        return self._thread.run(self._client.get(name))

    def generations(self, page_size: int = 0, page_token: str = "") -> tuple[list[Generation], str]:
        """Return a page of generations and the next page's token, see `Client.generations`."""
        return self._thread.run(self._client.generations(page_size, page_token))

    def cancel(self, name: str) -> Generation:
        """Cancel a generation, see `Client.cancel`."""
        return self._thread.run(self._client.cancel(name))

    def upload(self, media: Media) -> Artifact:
        """Upload media, see `Client.upload`."""
        return self._thread.run(self._client.upload(media))

    def download(self, name: str, offset: int = 0) -> Generator[bytes, None, None]:
        """Yield the bytes of an artifact, see `Client.download`."""
        return self._thread.read(self._client.download(name, offset))

    def delete(self, name: str) -> None:
        """Delete an artifact, see `Client.delete`."""
        self._thread.run(self._client.delete(name))

    def models(self) -> list[Model]:
        """Return the models of the server, see `Client.models`."""
        return self._thread.run(self._client.models())

    def quotas(self) -> list[Quota]:
        """Return the quotas of the caller's tenant that have a limit, see `Client.quotas`."""
        return self._thread.run(self._client.quotas())
