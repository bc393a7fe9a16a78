"""All known generations: those that run, and for a limited time those that ended."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from itertools import dropwhile, islice
from math import inf

from motet.caching.lru import LruCache
from motet.core.errors import CancelledError, NotFoundError, OverloadedError, Reason, RequestError, retry_delay
from motet.core.events import Generation
from motet.core.request import GENERATIONS, MAX_COUNT, FailurePolicy, GenerationRequest, check_name, check_range
from motet.scheduling.fair_queue import TENANT_SHARE
from motet.scheduling.moving_average import MovingAverage
from orchestrator.fingerprint import fingerprint
from orchestrator.generation.admitted_request import AdmittedRequest
from orchestrator.generation.event_writer import EventWriter
from orchestrator.generation.events.event_log import EventLog
from orchestrator.generation.metrics_observer import MetricsObserver
from orchestrator.generation.pipeline import Pipeline
from orchestrator.generation.task import GenerationTask, RequestKey, request_key, shutdown_error
from orchestrator.page_tokens import PageTokens
from orchestrator.quota.account import Account
from orchestrator.settings import OrchestratorSettings

CreatePipeline = Callable[[str, AdmittedRequest, EventWriter, Account], Pipeline]
"""Creates the pipeline of a tenant's admitted request. Its cost is charged to the account."""

_GENERATION_BYTES = 1536
"""Memory of an ended generation in this store without its events, in bytes."""

DEFAULT_PAGE_SIZE = 50
MAX_PAGE_SIZE = 1000


class GenerationStore:
    """Starts a bounded number of generations at a time, and keeps ended ones within limits of time and memory.

    A tenant may not take all places: each tenant leaves room for others, as in the pools' queues. Tenants share the
    room for ended generations as the owners of an `LruCache`. `modalities` are those that have a decoder.

    A generation belongs to its `owner`, the tenant of the caller that started it. Every method takes the owner and
    treats generations of others like generations that do not exist. The tenant in a request, which an anonymous caller
    may choose, only affects the scheduling and the request's id.
    """

    def __init__(
        self, create_pipeline: CreatePipeline, modalities: Collection[str], settings: OrchestratorSettings
    ) -> None:
        self._create_pipeline = create_pipeline
        self._modalities = modalities
        self._settings = settings
        self._tasks: dict[str, GenerationTask] = {}
        """By name, oldest first."""
        self._tasks_of: dict[str, dict[str, GenerationTask]] = {}
        """By owner, then by name, oldest first. Owners without generations are absent."""
        self._by_request_id: dict[RequestKey, GenerationTask] = {}
        self._ended: LruCache[str, GenerationTask] = LruCache(settings.max_result_bytes, settings.max_results)
        """By name."""
        self._expiries: OrderedDict[str, float] = OrderedDict()
        """Expiry time of each ended generation by name, in order of time."""
        self._running_of: Counter[str] = Counter()
        """Number of running generations of each tenant that has one."""
        self._admitting_of: Counter[str] = Counter()
        """Number of requests of each tenant that are being admitted. They take the places of generations."""
        self._last_number = 0
        self._mean_seconds = MovingAverage(1.0)
        self._page_tokens = PageTokens()

    @property
    def running(self) -> int:
        """Number of generations that workers may still work for."""
        return len(self._tasks) - len(self._ended)

    def find_request(self, owner: str, request: GenerationRequest) -> GenerationTask | None:
        """Return the generation of the owner's earlier request with the same id, or None if there is none or it failed.

        Raises `RequestError` if the earlier request with this id was different.
        """
        self._remove_expired()
        task = self._by_request_id.get(request_key(owner, request)) if request.request_id else None
        if task is None:
            return None
        if task.fingerprint != fingerprint(request):
            raise RequestError(
                "this request_id was used for another request: give each request its own",
                Reason.REQUEST_ID_REUSED,
                {"request_id": request.request_id},
            )
        return None if task.failed else task

    def check_capacity(self, tenant: str) -> None:
        """Raise `OverloadedError` if no generation of the tenant can start now."""
        limit, own = self._settings.max_generations, self._running_of[tenant] + self._admitting_of[tenant]
        free = limit - self.running - self._admitting_of.total()
        if free <= 0:
            message = f"{limit} generations are running, which is this server's limit; try again later"
        elif own >= TENANT_SHARE * free:
            message = f"{own} generations of this tenant are running, and the rest is for others; try again later"
        else:
            return
        raise OverloadedError(
            message,
            metadata={"limit": str(limit), "tenant_running": str(own)},
            retry_after=retry_delay((self._mean_seconds.value or 0.0) / limit),
        )

    @contextmanager
    def place(self, tenant: str) -> Iterator[None]:
        """Take the place of a generation for a request of the tenant while it is admitted, because it holds its media.

        Raises `OverloadedError`.
        """
        self.check_capacity(tenant)
        self._admitting_of[tenant] += 1
        try:
            yield
        finally:
            self._admitting_of[tenant] -= 1
            if not self._admitting_of[tenant]:
                del self._admitting_of[tenant]

    def start(
        self, owner: str, request: GenerationRequest, admitted: AdmittedRequest, account: Account
    ) -> GenerationTask:
        """Start a generation of the owner. Raises `OverloadedError`."""
        self.check_capacity(request.tenant)
        log = EventLog(MetricsObserver(admitted, self._modalities).count)
        writer = EventWriter(
            f"{GENERATIONS}/{secrets.token_hex(16)}",
            log,
            fallback=request.failure_policy is FailurePolicy.TEXT_FALLBACK,
            interval=self._settings.text_interval,
            max_bytes=self._settings.max_event_bytes,
        )
        pipeline = self._create_pipeline(owner, admitted, writer, account)

        def on_end(task: GenerationTask, record: Generation) -> None:
            account.end_generation()
            self._on_end(task, record)

        account.start_generation()
        task = GenerationTask(owner, request, self._next_number(), writer, log, pipeline, on_end)
        self._tasks[task.name] = self._tasks_of.setdefault(owner, {})[task.name] = task
        self._running_of[task.tenant] += 1
        if request.request_id:
            self._by_request_id[task.request_key] = task
        seconds = admitted.deadline.remaining()
        writer.accept(admitted.seed, None if seconds is None else time.time() + seconds)
        task.start(admitted.deadline)
        return task

    def find(self, owner: str, name: str) -> GenerationTask:
        """Return the owner's generation. Raises `NotFoundError` if the owner has no generation of this name.

        Raises `RequestError` for a text that is no generation's name.
        """
        check_name(GENERATIONS, name)
        self._remove_expired()
        task = self._tasks_of.get(owner, {}).get(name)
        if task is None:
            raise NotFoundError(
                f"{name} does not exist: it expired, was removed or never existed; start it again",
                Reason.GENERATION_NOT_FOUND,
                {"name": name},
            )
        self._ended.get(name)  # Marks the generation as used.
        return task

    def page(self, owner: str, size: int, token: str) -> tuple[list[Generation], str]:
        """Return a page of the owner's records, newest first, and the token of the next page, or "" after the last one.

        Raises `RequestError` for a size out of bounds, and for a token that this server did not return to the owner.
        """
        check_range("page_size", size, 0, MAX_COUNT)
        size = min(size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        before = self._page_tokens.read(owner, token) if token else inf
        self._remove_expired()
        older = dropwhile(lambda task: task.number >= before, reversed(self._tasks_of.get(owner, {}).values()))
        listed = list(islice(older, size + 1))
        next_token = self._page_tokens.write(owner, listed[size - 1].number) if len(listed) > size else ""
        return [task.record for task in listed[:size]], next_token

    async def cancel(self, owner: str, name: str) -> Generation:
        """Cancel the owner's generation and wait until no worker works for it. Raises `NotFoundError`."""
        task = self.find(owner, name)
        task.stop(CancelledError("the generation was cancelled"))
        await task.wait_idle()
        return task.record

    def interrupt(self) -> None:
        """Stop all running generations with a retryable error."""
        for task in list(self._tasks.values()):
            task.stop(shutdown_error())

    async def aclose(self) -> None:
        """Stop all running generations and wait until no worker works for them."""
        self.interrupt()
        await asyncio.gather(*(task.wait_idle() for task in self._tasks.values()))

    def _next_number(self) -> int:
        """Return the time in microseconds, or one more than the last number if the clock has not advanced.

        Page tokens show the number. A count would show the callers of one tenant the number of all generations.
        """
        self._last_number = max(self._last_number + 1, time.time_ns() // 1000)
        return self._last_number

    def _on_end(self, task: GenerationTask, record: Generation) -> None:
        self._running_of[task.tenant] -= 1
        if not self._running_of[task.tenant]:
            del self._running_of[task.tenant]
        self._mean_seconds.add(record.usage.elapsed)
        self._remove_expired()
        self._expiries[task.name] = record.expire_time or 0.0
        for evicted in self._ended.put(task.name, task, _GENERATION_BYTES + task.log.stored_bytes, task.owner):
            self._remove(evicted)

    def _remove_expired(self) -> None:
        while self._expiries:
            name, expiry = next(iter(self._expiries.items()))
            if expiry > time.time():
                return
            self._ended.pop(name)
            self._remove(self._tasks[name])

    def _remove(self, task: GenerationTask) -> None:
        del self._tasks[task.name]
        del self._tasks_of[task.owner][task.name]
        if not self._tasks_of[task.owner]:
            del self._tasks_of[task.owner]
        del self._expiries[task.name]
        task.log.discard()
        if self._by_request_id.get(task.request_key) is task:
            del self._by_request_id[task.request_key]
