"""A conversation with a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Unpack

from motet.answers.answer import Answer, MediaPart, Part
from motet.answers.answer_stream import AnswerStream
from motet.answers.history import History, HistoryPart, StoredMedia
from motet.answers.options import AnswerOptions, user_parts
from motet.core.errors import RequestError
from motet.core.media import Media

if TYPE_CHECKING:
    from motet.client.client import Client


class Conversation:
    """A conversation: each prompt is sent with the exchanges before it. `Client.conversation` creates it.

    At the server's limits the oldest exchanges are left out. A prompt whose answer failed is not part of the history.
    """

    def __init__(self, client: Client, options: AnswerOptions) -> None:
        self._client = client
        self._options = options
        self._history = History()

    @property
    def left_out(self) -> int:
        """The number of exchanges that were left out because of the server's limits."""
        return self._history.left_out

    async def answer(self, prompt: str, media: Sequence[Media] = (), **options: Unpack[AnswerOptions]) -> Answer:
        """Return the complete answer to a prompt, see `Client.answer`."""
        async with self.stream(prompt, media, **options) as stream:
            return await stream.answer()

    @asynccontextmanager
    async def stream(
        self, prompt: str, media: Sequence[Media] = (), **options: Unpack[AnswerOptions]
    ) -> AsyncIterator[AnswerStream]:
        """Yield the answer to a prompt as a stream, see `Client.stream`. It must be read to its end."""
        parts = user_parts(prompt, [StoredMedia(item, await self._client.upload(item)) for item in media])
        async with AsyncExitStack() as stack:
            stream = await self._send(stack, parts, {**self._options, **options})
            yield stream
        if stream.generation is not None and stream.complete_parts:
            self._history.add(parts, [_stored(part) for part in stream.complete_parts])

    async def _send(self, stack: AsyncExitStack, prompt: Sequence[HistoryPart], options: AnswerOptions) -> AnswerStream:
        while True:
            try:
                stream = self._client.stream(self._history.messages(prompt), **options)
                return await stack.enter_async_context(stream)
            except RequestError as error:
                if not self._history.recover(error):
                    raise


def _stored(part: Part) -> HistoryPart:
    return StoredMedia(part.content, part.artifact) if isinstance(part, MediaPart) else part.content
