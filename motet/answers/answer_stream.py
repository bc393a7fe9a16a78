"""The stream of one answer: its events, its text and its parts as they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import replace
from typing import Self

from motet.answers.answer import Answer, AnswerBuilder, Part
from motet.core.clock import now
from motet.core.closing import close
from motet.core.errors import FaultError, OverloadedError, RequestError
from motet.core.events import Accepted, Done, Event, Generation, PartDelta
from motet.core.request import MIN_TIMEOUT, GenerationRequest
from motet.core.service import Motet


class AnswerStream:
    """The answer to one request. `async with` sends the request and, at its end, cancels what is left of it.

    Iterate the stream, `text()` or `parts()`, and continue with another one at any time: each item arrives once.
    `answer()` reads the rest and returns the complete answer.

    An overloaded server refuses a request before it has any effect. The stream then waits for the delay that the server
    reports, and sends the request again, up to `retries` times within its timeout.
    """

    def __init__(self, motet: Motet, request: GenerationRequest, retries: int = 0) -> None:
        self._motet = motet
        self._request = request
        self._retries = retries
        self._builder = AnswerBuilder(motet)
        self._events: AsyncIterator[Event] | None = None
        self._first: Event | None = None
        self.generation: Generation | None = None
        """The record of the generation, after its last event."""
        self.accepted: Accepted | None = None
        """The first event, which has the name and the seed of the generation."""

    async def __aenter__(self) -> Self:
        """Send the request. Raise the server's error if it refuses the request."""
        self._first = await self._send()
        if isinstance(self._first.payload, Accepted):
            self.accepted = self._first.payload
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._events is not None:
            await close(self._events)

    async def __aiter__(self) -> AsyncGenerator[Event, None]:
        """Yield each event."""
        async for event, _ in self._read():
            yield event

    async def text(self) -> AsyncGenerator[str, None]:
        """Yield each piece of text."""
        async for event, _ in self._read():
            if isinstance(event.payload, PartDelta) and isinstance(event.payload.chunk, str):
                yield event.payload.chunk

    async def parts(self) -> AsyncGenerator[Part, None]:
        """Yield each part when it is complete, in the order of completion."""
        async for _, part in self._read():
            if part is not None:
                yield part

    async def answer(self) -> Answer:
        """Return the complete answer. Raise the generation's error if it failed or was cancelled.

        A partial generation raises no error.
        """
        async for _ in self._read():
            pass
        assert self.generation is not None
        return self._builder.answer(self.generation)

    @property
    def complete_parts(self) -> tuple[Part, ...]:
        """The parts that are complete until now, in the answer's order."""
        return self._builder.parts

    async def _send(self) -> Event:
        """Send the request, again after each refusal by an overloaded server, and return the first event."""
        request, retries = self._request, self._retries
        deadline = None if request.timeout is None else now() + request.timeout
        while True:
            self._events = self._motet.generate(request)
            try:
                return await anext(self._events)
            except StopAsyncIteration:
                raise _ended_early() from None
            except OverloadedError as error:
                left = None if deadline is None else deadline - now() - error.retry_after
                if retries <= 0 or (left is not None and left < MIN_TIMEOUT):
                    raise
                retries -= 1
                await asyncio.sleep(error.retry_after)
                request = replace(request, timeout=left)

    async def _read(self) -> AsyncGenerator[tuple[Event, Part | None], None]:
        if self._events is None:
            raise RequestError("the stream has not begun: enter it with `async with` or `with`")
        while self.generation is None:
            event = self._first or await anext(self._events, None)
            self._first = None
            if event is None:
                raise _ended_early()
            part = await self._builder.add(event)
            if isinstance(event.payload, Done):
                self.generation = event.payload.generation
            yield event, part


def _ended_early() -> FaultError:
    return FaultError("the event stream ended before the generation was done")


async def collect_answer(motet: Motet, request: GenerationRequest) -> Answer:
    """Send a request and return the complete answer, see `AnswerStream`."""
    async with AnswerStream(motet, request) as stream:
        return await stream.answer()
