"""The blocking twins of an answer's stream and of a conversation."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Unpack

from motet.answers.answer import Answer, Part
from motet.answers.answer_stream import AnswerStream
from motet.answers.options import AnswerOptions
from motet.client.conversation import Conversation
from motet.client.loop_thread import LoopThread
from motet.core.events import Accepted, Event, Generation
from motet.core.media import Media


class SyncAnswerStream:
    """A blocking `AnswerStream`. Its methods are the methods of `AnswerStream`."""

    def __init__(self, stream: AnswerStream, thread: LoopThread) -> None:
        self._stream = stream
        self._thread = thread

    @property
    def accepted(self) -> Accepted | None:
        """The first event, see `AnswerStream.accepted`."""
        return self._stream.accepted

    @property
    def generation(self) -> Generation | None:
        """The record of the generation after its last event, see `AnswerStream.generation`."""
        return self._stream.generation

    def __iter__(self) -> Generator[Event, None, None]:
        return self._thread.read(self._stream.__aiter__())

    def text(self) -> Generator[str, None, None]:
        """Yield each piece of text, see `AnswerStream.text`."""
        return self._thread.read(self._stream.text())

    def parts(self) -> Generator[Part, None, None]:
        """Yield each part when it is complete, see `AnswerStream.parts`."""
        return self._thread.read(self._stream.parts())

    def answer(self) -> Answer:
        """Return the complete answer, see `AnswerStream.answer`."""
        return self._thread.run(self._stream.answer())


class SyncConversation:
    """A blocking `Conversation`. Its methods are the methods of `Conversation`."""

    def __init__(self, conversation: Conversation, thread: LoopThread) -> None:
        self._conversation = conversation
        self._thread = thread

    @property
    def left_out(self) -> int:
        """The number of exchanges that were left out, see `Conversation.left_out`."""
        return self._conversation.left_out

    def answer(self, prompt: str, media: Sequence[Media] = (), **options: Unpack[AnswerOptions]) -> Answer:
        """Return the complete answer to a prompt, see `Conversation.answer`."""
        return self._thread.run(self._conversation.answer(prompt, media, **options))

    @contextmanager
    def stream(
        self, prompt: str, media: Sequence[Media] = (), **options: Unpack[AnswerOptions]
    ) -> Iterator[SyncAnswerStream]:
        """Yield the answer to a prompt as a stream, see `Conversation.stream`."""
        with self._thread.enter(self._conversation.stream(prompt, media, **options)) as stream:
            yield SyncAnswerStream(stream, self._thread)
