"""All generations that are known: those that run, and for a while those that are over."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection

from motet.core.errors import CancelledError, NotFoundError, OverloadedError, Reason, RequestError
from motet.core.events import Generation
from motet.core.request import FailurePolicy, GenerationRequest
from motet.scheduling.moving_average import MovingAverage
from orchestrator.fingerprint import fingerprint
from orchestrator.generation.admitted_request import AdmittedRequest
from orchestrator.generation.event_log import EventLog
from orchestrator.generation.event_writer import EventWriter
from orchestrator.generation.metrics_observer import MetricsObserver
from orchestrator.generation.pipeline import Pipeline
from orchestrator.generation.task import GenerationTask
from orchestrator.page_tokens import PageTokens
from orchestrator.settings import OrchestratorSettings

Compose = Callable[[AdmittedRequest, EventWriter], Pipeline]
"""What will answer an order."""

PAGE = 50
LONGEST_PAGE = 1000


class GenerationStore:
    """Starts generations, a bounded number at a time, and keeps those that are over within bounds of time and memory.

    Of those that are over, the least recently used make room. `makes` are the modalities that there are decoders for.
    """

    def __init__(self, compose: Compose, makes: Collection[str], settings: OrchestratorSettings) -> None:
        self._compose = compose
        self._makes = makes
        self._settings = settings
        self._known: dict[str, GenerationTask] = {}
        """By name, oldest first."""
        self._requests: dict[str, GenerationTask] = {}
        """By request id."""
        self._over: OrderedDict[str, GenerationTask] = OrderedDict()
        """By name, least recently used first."""
        self._expiries: deque[tuple[float, str]] = deque()
        self._count = 0
        self._size_bytes = 0
        self._typical_seconds = MovingAverage(1.0)
        self._tokens = PageTokens()

    @property
    def running(self) -> int:
        """How many generations hold workers."""
        return len(self._known) - len(self._over)

    def same_as(self, request: GenerationRequest) -> GenerationTask | None:
        """The generation of an earlier request with this id, unless nothing came of it.

        Raises `RequestError` when the earlier one asked for something else.
        """
        self._forget()
        known = self._requests.get(request.request_id) if request.request_id else None
        if known is None:
            return None
        if known.fingerprint != fingerprint(request):
            raise RequestError(
                "this request_id was used for another request: give each request its own",
                Reason.REQUEST_ID_REUSED,
                {"request_id": request.request_id},
            )
        return None if known.fruitless else known

    def check_room(self) -> None:
        """Raises `OverloadedError` when no generation can be started now."""
        limit = self._settings.max_generations
        if self.running >= limit:
            raise OverloadedError(
                f"{limit} generations are running, which is all this server takes; try again later",
                metadata={"limit": str(limit)},
                retry_after=max(0.1, (self._typical_seconds.value or 0.0) / limit),
            )

    def start(self, request: GenerationRequest, order: AdmittedRequest) -> GenerationTask:
        """Start what was ordered. Raises `OverloadedError`."""
        self.check_room()
        log = EventLog(MetricsObserver(order, self._makes).count)
        answer = EventWriter(
            f"generations/{secrets.token_hex(16)}",
            log,
            fallback=request.failure_policy is FailurePolicy.TEXT_FALLBACK,
            interval=self._settings.text_interval,
        )
        pipeline = self._compose(order, answer)
        performance = GenerationTask(request, self._count, answer, log, pipeline, self._ended)
        self._count += 1
        self._known[performance.name] = performance
        if request.request_id:
            self._requests[request.request_id] = performance
        seconds = order.deadline.remaining()
        answer.accept(order.seed, None if seconds is None else time.time() + seconds)
        performance.begin(order.deadline)
        return performance

    def find(self, name: str) -> GenerationTask:
        """A generation. Raises `NotFoundError` for one that is not known, or was forgotten."""
        self._forget()
        performance = self._known.get(name)
        if performance is None:
            raise NotFoundError(
                f"{name} is not here: it was forgotten or never was; start it again",
                Reason.GENERATION_NOT_FOUND,
                {"name": name},
            )
        if name in self._over:
            self._over.move_to_end(name)
        return performance

    def page(self, size: int, token: str) -> tuple[list[Generation], str]:
        """A page, newest first, and the next page's token, "" for none. Raises `RequestError` for a token not ours."""
        if size < 0:
            raise RequestError(f"page_size must not be negative, got {size}")
        size = min(size or PAGE, LONGEST_PAGE)
        before = self._tokens.read(token) if token else self._count
        self._forget()
        listed = [known for known in reversed(self._known.values()) if known.number < before]
        next_token = self._tokens.write(listed[size - 1].number) if len(listed) > size else ""
        return [known.record for known in listed[:size]], next_token

    async def cancel(self, name: str) -> Generation:
        """Stop a generation; returns once no worker holds work for it. Raises `NotFoundError`."""
        performance = self.find(name)
        performance.stop(CancelledError("the generation was cancelled"))
        await performance.idle()
        return performance.record

    async def aclose(self) -> None:
        """Stop all that runs; returns once no worker holds any work."""
        for performance in list(self._known.values()):
            performance.stop(CancelledError("the server is stopping"))
        await asyncio.gather(*(performance.idle() for performance in self._known.values()))

    def _ended(self, performance: GenerationTask) -> None:
        record = performance.record
        self._over[performance.name] = performance
        self._expiries.append((record.expire_time or 0.0, performance.name))
        self._size_bytes += performance.log.size_bytes
        self._typical_seconds.add(record.usage.elapsed)
        self._forget()

    def _forget(self) -> None:
        """Drop what has expired, then the least recently used, until the rest is within bounds."""
        while self._expiries and self._expiries[0][0] <= time.time():
            self._drop(self._expiries.popleft()[1])
        while self._size_bytes > self._settings.max_result_bytes or len(self._over) > self._settings.max_results:
            self._drop(next(iter(self._over)))

    def _drop(self, name: str) -> None:
        performance = self._over.pop(name, None)
        if performance is None:
            return
        del self._known[name]
        self._size_bytes -= performance.log.size_bytes
        if self._requests.get(performance.request_id) is performance:
            del self._requests[performance.request_id]
