"""The methods of servicers without a server of gRPC, for a replica of Ray Serve."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from google.protobuf.message import Message

from motet.core.caller import Caller, Role
from motet.core.clock import now
from motet.core.deadline import Deadline
from motet.core.errors import MotetError, RequestError
from motet.core.logs.call_line import log_call
from motet.core.logs.request_id import set_request_id
from motet.core.telemetry.families.call_metrics import CALL_SECONDS
from motet.core.telemetry.prometheus import labelled
from motet.core.tracing.span import set_span
from motet.transport.access.authorization import check_role
from motet.transport.bounds.request_parser import RequestParser
from motet.transport.client_call import Metadata, request_id_of
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from motet.transport.interceptor import admission
from motet.transport.ray.failure import Failure
from motet.transport.status import CODE_OF, public_error
from motet.transport.tracing.server_span import end_server_span, parent_of, start_server_span

if TYPE_CHECKING:
    from motet.transport.server import Servicer

_ORCHESTRATOR = Caller("", frozenset({Role.ORCHESTRATOR}))
"""The caller of every call. Ray itself decides which processes belong to its cluster."""


class ServedMethods:
    """The methods of a worker's servicers, called by their paths with serialized requests.

    As a server of gRPC does, it checks the caller's role and the requests, and limits the calls that run at a time.
    """

    def __init__(self, servicers: Sequence[Servicer], limiter: ConcurrencyLimiter) -> None:
        self._limiter = limiter
        self._parser = RequestParser()
        self._handlers: dict[str, Any] = {}
        registry: Any = _Registry(self._handlers)
        for servicer in servicers:
            servicer.add_to(registry)

    async def call(
        self, method: str, requests: Sequence[bytes], seconds: float | None, metadata: Metadata
    ) -> AsyncGenerator[bytes | Failure, None]:
        """Yield the serialized responses of a call with its metadata, and a `Failure` at the end if the call failed.

        The deadline is `seconds` seconds from now. Closing this generator, and cancelling its task, stops the worker.
        """
        set_request_id(request_id := request_id_of(metadata))
        span = start_server_span(method, parent_of(metadata))
        set_span(span)
        started, code = now(), "OK"
        public: MotetError | None = None
        deadline = Deadline.never() if seconds is None else Deadline.after(seconds)
        try:
            async with aclosing(self._responses(method, requests, deadline)) as responses:
                async for response in responses:
                    yield response
        except (asyncio.CancelledError, GeneratorExit):
            code = "CANCELLED"
            raise
        except Exception as error:
            public = public_error(error)
            code = CODE_OF[public.reason].name
            yield Failure.of(public, request_id)
        finally:
            labelled(CALL_SECONDS, method, code).observe(now() - started)
            log_call(method, code, now() - started, public, {})
            end_server_span(span, code, public, request_id)

    async def _responses(
        self, method: str, requests: Sequence[bytes], deadline: Deadline
    ) -> AsyncGenerator[bytes, None]:
        handler = self._handlers.get(method)
        if handler is None:
            raise RequestError(f"this worker does not have the method {method}; call it with the same version")
        check_role(_ORCHESTRATOR, method)
        # The deserializer is the class's `FromString`.
        kind: type[Message] = handler.request_deserializer.__self__
        messages = [await self._parser.parse(kind, request) for request in requests]
        if len(messages) != 1 and not handler.request_streaming:
            raise RequestError(f"{method} takes one request, not {len(messages)}")
        request: Any = _iterate(messages) if handler.request_streaming else messages[0]
        context = _Context(deadline)
        async with admission(self._limiter, method):
            if handler.response_streaming:
                stream = (handler.unary_stream or handler.stream_stream)(request, context)
                async with aclosing(stream) as responses:
                    async for response in responses:
                        yield handler.response_serializer(response)
            else:
                yield handler.response_serializer(await (handler.unary_unary or handler.stream_unary)(request, context))


class _Registry:
    """Collects the handlers that servicers register, by the paths of their methods."""

    def __init__(self, handlers: dict[str, Any]) -> None:
        self._handlers = handlers

    def add_generic_rpc_handlers(self, handlers: Iterable[Any]) -> None:
        """Do nothing: the same handlers are registered with their names, too."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Add the handlers of a service by the names of its methods."""
        self._handlers.update({f"/{service}/{name}": handler for name, handler in handlers.items()})


class _Context:
    """The part of the context of a call that servicers use."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def time_remaining(self) -> float | None:
        """Return the seconds until the deadline, or None without a deadline."""
        return self._deadline.remaining()

    async def send_initial_metadata(self, metadata: object) -> None:
        """Do nothing: the caller has sent all its requests."""


async def _iterate(messages: Sequence[Message]) -> AsyncIterator[Message]:
    for message in messages:
        yield message
