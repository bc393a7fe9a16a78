"""Endpoints from the Service of a Kubernetes cluster."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from motet.core.clock import now
from motet.core.errors import SettingsError
from services.orchestrator.discovery.backoff import Backoff
from services.orchestrator.discovery.endpoint import Endpoints
from services.orchestrator.discovery.endpoint_slices import EndpointSlices
from services.orchestrator.discovery.service_account import ServiceAccount

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from kubernetes.aio.client import DiscoveryV1Api

_PAGE = 5
"""Number of slices in a response. A slice has up to 1,000 endpoints, which take about 10 ms to parse."""

_WATCH_SECONDS = 60
"""Duration of a watch in seconds. A connection that was lost silently is detected after it."""

_MARGIN = 10.0
"""Time after the end of a watch at which its connection counts as lost, in seconds."""

_LIST_TIMEOUT = 10.0
"""Maximum duration of a list request in seconds."""

_MIN_WATCH = 1.0
"""Duration in seconds of a watch after which the next one begins at once. A shorter one has a pause after it, unless it
had an event."""

_MIN_BACKOFF, _MAX_BACKOFF = 0.2, 5.0
"""Minimum and maximum time between two attempts to reach the API server, in seconds, before jitter."""

logger = logging.getLogger(__name__)


class _ExpiredError(Exception):
    """The resource version is too old: the API server has forgotten what changed since then."""


class _UnreachableError(Exception):
    """The API server did not answer, or not as expected."""


class KubernetesSource:
    """The pods of a Service that are ready, from its EndpointSlices, which the API server reports as they change.

    While the API server cannot be reached, the last endpoints stay. `port` is the name of a port of the Service, or a
    number. The certificate of each pod must have the name SERVICE.NAMESPACE.svc. `pause` waits for a number of seconds
    between two attempts to reach the API server.
    """

    def __init__(
        self,
        account: ServiceAccount,
        namespace: str,
        service: str,
        port: str,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._account = account
        self._namespace = namespace
        self._service = service
        self._port = port
        self._pause = pause
        self._slices = EndpointSlices(port, f"{service}.{namespace}.svc")
        self._version: str | None = None
        """The resource version of the slices, or None if they must be listed."""
        self._backoff = Backoff(_MIN_BACKOFF, _MAX_BACKOFF)
        self._reported = ""

    def __str__(self) -> str:
        return f"kubernetes://{self._namespace}/{self._service}:{self._port}"

    async def watch(self) -> AsyncGenerator[Endpoints, None]:
        """Implement `EndpointSource.watch`."""
        latest: Endpoints | None = None
        while True:
            try:
                async with aclosing(self._connect()) as changes:
                    async for _ in changes:
                        endpoints = self._slices.endpoints()
                        if endpoints != latest:
                            latest = endpoints
                            yield endpoints
            except _ExpiredError:
                self._version = None
                logger.info("%s is listed again, because its changes are no longer known", self)
            except _UnreachableError as error:
                self._report(str(error))
            except SettingsError as error:
                if latest is None:
                    raise
                self._report(error.message)
            await self._pause(self._backoff.seconds())

    def _report(self, error: str) -> None:
        """Write a log line, unless the last one was about the same failure."""
        if error != self._reported:
            logger.error("%s cannot be watched, the last replicas stay: %s", self, error)
        self._reported = error

    def _report_success(self) -> None:
        if self._reported:
            logger.info("%s is watched again", self)
        self._reported = ""

    async def _connect(self) -> AsyncGenerator[None, None]:
        """Connect to the API server, and yield after each change of the slices.

        A new connection reads the token and the authorities of the cluster again. It ends after a watch that the API
        server ended at once. Raises `_ExpiredError`,
        `_UnreachableError` and `SettingsError`.
        """
        import aiohttp

        try:
            async with self._account.connected() as api:
                if self._version is None:
                    await self._list(api)
                    yield None
                while True:
                    began, changed = now(), False
                    async with aclosing(self._events(api)) as events:
                        async for event in events:
                            self._apply(event)
                            changed = True
                            yield None
                    if not changed and now() - began < _MIN_WATCH:
                        return
                    self._backoff.reset()
        except (aiohttp.ClientError, OSError) as error:
            raise _UnreachableError(str(error) or type(error).__name__) from None
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._version = None
            raise _UnreachableError(f"the API server sent an unexpected object: {error!r}") from None

    async def _list(self, api: DiscoveryV1Api) -> None:
        """Set the slices to those of a consistent list."""
        slices: list[dict[str, Any]] = []
        token: str | None = None
        while True:
            response = await api.list_namespaced_endpoint_slice_without_preload_content(
                self._namespace,
                label_selector=self._selector,
                limit=_PAGE,
                _continue=token,
                _request_timeout=_LIST_TIMEOUT,
            )
            async with response:
                await self._check(response)
                page = json.loads(await response.read())
            slices += page["items"]
            token = page["metadata"].get("continue")
            if not token:
                break
        self._slices.replace(slices)
        self._version = page["metadata"]["resourceVersion"]

    async def _events(self, api: DiscoveryV1Api) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the events since the resource version, until the API server ends the watch."""
        response = await api.list_namespaced_endpoint_slice_without_preload_content(
            self._namespace,
            label_selector=self._selector,
            watch=True,
            resource_version=self._version,
            allow_watch_bookmarks=True,
            timeout_seconds=_WATCH_SECONDS,
            _request_timeout=_WATCH_SECONDS + _MARGIN,
        )
        async with response:
            await self._check(response)
            self._report_success()
            while line := await response.content.readline():
                yield json.loads(line)

    def _apply(self, event: dict[str, Any]) -> None:
        kind, changed = event["type"], event["object"]
        if kind == "ERROR":
            if changed.get("code") == 410:
                raise _ExpiredError
            raise _UnreachableError(str(changed.get("message")))
        if kind in ("ADDED", "MODIFIED"):
            self._slices.set(changed)
        elif kind == "DELETED":
            self._slices.remove(changed)
        # A bookmark has no endpoints, only a newer version.
        self._version = changed["metadata"]["resourceVersion"]

    async def _check(self, response: ClientResponse) -> None:
        """Raise an error unless the status of a response is 200."""
        if response.status == 200:
            return
        if response.status == 410:
            raise _ExpiredError
        if response.status == 403:
            raise SettingsError(
                "the service account of this pod may not list and watch EndpointSlices in the namespace "
                f"{self._namespace}: give it a Role there with the verbs list and watch for endpointslices of "
                "discovery.k8s.io, or write dns:///HOST:PORT",
                metadata={"address": str(self)},
            )
        raise _UnreachableError(f"the API server answered {response.status} {response.reason}")

    @property
    def _selector(self) -> str:
        return f"kubernetes.io/service-name={self._service}"
