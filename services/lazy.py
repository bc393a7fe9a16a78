"""Workers that are loaded when they are first needed, or earlier in the background."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Future
from typing import Generic, Self, TypeVar

from motet.core.closing import closing
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError
from motet.core.media import Media
from motet.core.tensors import Tensor
from motet.core.workers import DecodeJob, Decoder, Encoder, LanguageEvent, LanguageModel, Progress, Prompt

T = TypeVar("T")

_LOADER = "load "


class LazyWorker(Generic[T]):
    """Something that takes seconds to load, loaded once, on a thread of its own.

    The thread is a daemon: who gives up waiting, by Ctrl-C for one, need not see the loading through.
    """

    def __init__(self, load: Callable[[], T], what: str) -> None:
        self._load = load
        self._what = what
        self._started = threading.Lock()
        self._loaded: Future[T] = Future()

    def begin(self) -> Future[T]:
        """Start to load, if nobody has."""
        if self._started.acquire(blocking=False):
            threading.Thread(target=self._run, name=f"{_LOADER}{self._what}", daemon=True).start()
        return self._loaded

    async def ready(self, deadline: Deadline) -> T:
        """What was loaded. Raises what loading raised, and `DeadlineError` when it takes too long."""
        try:
            async with asyncio.timeout(deadline.remaining()):
                return await asyncio.shield(asyncio.wrap_future(self.begin()))
        except TimeoutError as error:
            raise DeadlineError(f"the deadline passed while loading the {self._what}; allow more time") from error

    def _run(self) -> None:
        try:
            self._loaded.set_result(self._load())
        except BaseException as error:
            self._loaded.set_exception(error)


def unfinished() -> bool:
    """Whether something is still being loaded that somebody gave up waiting for."""
    return any(thread.name.startswith(_LOADER) for thread in threading.enumerate())


class LazyEncoder:
    """An `Encoder` that is there when it is needed. `then`, which is needed after it, is loaded while it works."""

    def __init__(self, loading: LazyWorker[Encoder], then: LazyWorker[LanguageModel]) -> None:
        self._loading = loading
        self._then = then

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """As the loaded encoder does."""
        encoder = await self._loading.ready(deadline)
        self._then.begin()
        return await encoder.encode(media, deadline, tenant=tenant, priority=priority)


class LazyLanguageModel:
    """A `LanguageModel` that is there when it is needed."""

    def __init__(self, loading: LazyWorker[LanguageModel]) -> None:
        self._loading = loading

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """As the loaded language model does."""
        model = await self._loading.ready(deadline)
        async with closing(model.generate(prompt, deadline)) as events:
            async for event in events:
                yield event


class LazyDecoder:
    """A `Decoder` that is there when it is needed, or sooner: it is loaded once a job for it is expected."""

    def __init__(self, loading: LazyWorker[Decoder]) -> None:
        self._loading = loading

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """As the loaded decoder does."""
        decoder = await self._loading.ready(deadline)
        async with closing(decoder.decode(job, deadline)) as events:
            async for event in events:
                yield event

    def reserve(self, *, steps: int | None, tenant: str, priority: int) -> Self:
        """This decoder itself, which begins to load."""
        self._loading.begin()
        return self

    def release(self) -> None:
        """What has begun to load is loaded: it will be needed another time."""
