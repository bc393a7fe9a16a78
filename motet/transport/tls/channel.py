"""A channel whose new calls use the current certificates."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from weakref import WeakSet

import grpc
import grpc.aio

from motet.core.clock import now

if TYPE_CHECKING:
    from motet.transport.tls.reload import ReloadedCertificates

    _Call = grpc.aio.Call


MAX_AGE = 600.0
"""Time after which a channel is replaced, in seconds. A handshake then verifies the server's certificate again."""


class ReloadingChannel(grpc.aio.Channel):
    """A channel that replaces its connections when the certificates change, because gRPC cannot change those of one.

    `open` returns a channel with credentials. The first call after a change, or `max_age` seconds after the last one,
    opens a new channel. gRPC for Python does not show a server's certificate, so only a new handshake can find out that
    it has expired. The old channel is closed when its last call ends, so no call fails.
    """

    def __init__(
        self,
        certificates: ReloadedCertificates,
        open: Callable[[grpc.ChannelCredentials], grpc.aio.Channel],
        max_age: float = MAX_AGE,
    ) -> None:
        self._certificates = certificates
        self._open = open
        self._max_age = max_age
        self._used = certificates.current
        self._opened = now()
        self._channel = open(self._used.channel_credentials())
        self._calls: WeakSet[_Call] = WeakSet()
        """The calls of the present channel. A call that has ended may be among them."""
        self._retired: dict[grpc.aio.Channel, asyncio.Task[None]] = {}
        """The old channels, and the tasks that close them."""

    def is_retired(self, call: object) -> bool:
        """Return whether the call runs on an old channel. A call without an end should then move to the new one."""
        self._renew()
        return call not in self._calls

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, grace: float | None = None) -> None:
        """Close all channels and cancel their calls, after up to `grace` seconds."""
        for task in self._retired.values():
            task.cancel()
        await asyncio.gather(*(channel.close(grace) for channel in (self._channel, *self._retired)))

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """Return the state of the present channel."""
        return self._renew().get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Wait until the present channel's state differs."""
        await self._renew().wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Wait until the present channel is connected."""
        await self._renew().channel_ready()

    def unary_unary(self, *arguments: Any, **options: Any) -> Any:
        """Return a method whose calls use the present channel."""
        return self._method("unary_unary", arguments, options)

    def unary_stream(self, *arguments: Any, **options: Any) -> Any:
        """Return a method whose calls use the present channel."""
        return self._method("unary_stream", arguments, options)

    def stream_unary(self, *arguments: Any, **options: Any) -> Any:
        """Return a method whose calls use the present channel."""
        return self._method("stream_unary", arguments, options)

    def stream_stream(self, *arguments: Any, **options: Any) -> Any:
        """Return a method whose calls use the present channel."""
        return self._method("stream_stream", arguments, options)

    def _method(self, shape: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Callable[..., _Call]:
        channel, method = self._channel, getattr(self._channel, shape)(*arguments, **options)

        def call(*arguments_of_call: Any, **options_of_call: Any) -> _Call:
            nonlocal channel, method
            if (present := self._renew()) is not channel:
                channel, method = present, getattr(present, shape)(*arguments, **options)
            started: _Call = method(*arguments_of_call, **options_of_call)
            self._calls.add(started)
            return started

        return call

    def _renew(self) -> grpc.aio.Channel:
        """Return the present channel. It is a new one if the certificates or their age require it."""
        if self._certificates.current is not self._used or now() - self._opened >= self._max_age:
            self._used, self._opened = self._certificates.current, now()
            old, calls = self._channel, tuple(self._calls)
            self._channel, self._calls = self._open(self._used.channel_credentials()), WeakSet()
            task = self._retired[old] = asyncio.create_task(_close_after(old, calls))
            task.add_done_callback(lambda _: self._retired.pop(old))
        return self._channel


async def _close_after(channel: grpc.aio.Channel, calls: tuple[_Call, ...]) -> None:
    """Close a channel when its calls have ended."""
    for call in calls:
        await call.code()
    await channel.close()
