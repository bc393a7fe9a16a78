"""Workers that are loaded when first needed, or earlier in the background."""

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

_THREAD_PREFIX = "load "

ENCODER = "encoder"
LANGUAGE_MODEL = "language model"


def decoder_name(modality: str) -> str:
    """Return the name of a modality's decoder."""
    return f"{modality} decoder"


class LazyWorker(Generic[T]):
    """A worker that is loaded once, on its own thread. Loading takes seconds.

    The thread is a daemon, so a process can exit during loading, for example after Ctrl-C.
    """

    def __init__(self, load: Callable[[], T], name: str) -> None:
        self._load = load
        self._name = name
        self._started = threading.Lock()
        self._loaded: Future[T] = Future()

    def start(self) -> Future[T]:
        """Start to load, on the first call, and return the worker's future."""
        if self._started.acquire(blocking=False):
            threading.Thread(target=self._run, name=f"{_THREAD_PREFIX}{self._name}", daemon=True).start()
        return self._loaded

    async def ready(self, deadline: Deadline) -> T:
        """Return the loaded worker. Raises the error of loading, and `DeadlineError` if loading takes too long."""
        try:
            async with asyncio.timeout(deadline.remaining()):
                return await asyncio.shield(asyncio.wrap_future(self.start()))
        except TimeoutError as error:
            raise DeadlineError(f"the deadline passed while loading the {self._name}; allow more time") from error

    def _run(self) -> None:
        try:
            self._loaded.set_result(self._load())
        except BaseException as error:
            self._loaded.set_exception(error)


def loading() -> list[str]:
    """Return the names of the workers of this process that are being loaded."""
    threads = [thread.name for thread in threading.enumerate()]
    return [name.removeprefix(_THREAD_PREFIX) for name in threads if name.startswith(_THREAD_PREFIX)]


class LazyEncoder:
    """An `Encoder` that the first call loads. While the encoder runs, `next_worker` is loaded."""

    def __init__(self, worker: LazyWorker[Encoder], next_worker: LazyWorker[LanguageModel]) -> None:
        self._worker = worker
        self._next_worker = next_worker

    async def encode(
        self, media: Sequence[Media], deadline: Deadline, *, tenant: str = "", priority: int = 0
    ) -> list[Tensor]:
        """Implement `Encoder.encode`."""
        encoder = await self._worker.ready(deadline)
        self._next_worker.start()
        return await encoder.encode(media, deadline, tenant=tenant, priority=priority)


class LazyLanguageModel:
    """A `LanguageModel` that the first call loads."""

    def __init__(self, worker: LazyWorker[LanguageModel]) -> None:
        self._worker = worker

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Implement `LanguageModel.generate`."""
        model = await self._worker.ready(deadline)
        async with closing(model.generate(prompt, deadline)) as events:
            async for event in events:
                yield event


class LazyDecoder:
    """A `Decoder` that the first reservation or job loads."""

    def __init__(self, worker: LazyWorker[Decoder]) -> None:
        self._worker = worker

    async def decode(self, job: DecodeJob, deadline: Deadline) -> AsyncIterator[Progress | Media]:
        """Implement `Decoder.decode`."""
        decoder = await self._worker.ready(deadline)
        async with closing(decoder.decode(job, deadline)) as events:
            async for event in events:
                yield event

    def reserve(self, *, steps: int | None, tenant: str, priority: int) -> Self:
        """Start to load, and return this decoder as the reservation."""
        self._worker.start()
        return self

    def release(self) -> None:
        """Do nothing: the decoder stays loaded for later jobs."""
