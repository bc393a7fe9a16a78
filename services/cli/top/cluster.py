"""The endpoints of a release of the chart, to which the API server of a cluster forwards requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from motet.core.clock import now
from motet.core.errors import MotetError, RetryableError
from services.cli.cluster.load import reason_of
from services.cli.cluster.pod import PodState
from services.cli.cluster.release import find_release, pods_of
from services.cli.top.endpoint import EndpointError, MetricsEndpoint

if TYPE_CHECKING:
    from services.cli.cluster.api import ClusterApi
    from services.cli.cluster.component import Component

_LIST_INTERVAL = 10.0
"""Minimum time between two lists of the pods, in seconds."""

_MAX_READS = 4
"""Maximum number of concurrent readings. The connections to an API server are as many, and a wait for one counts."""


class ClusterEndpoints:
    """The endpoints of the pods of a release, by default of the only one in the namespace."""

    def __init__(self, api: ClusterApi, release: str | None) -> None:
        self._api = api
        self._release = release
        self._known: Sequence[MetricsEndpoint] | None = None
        self._listed = 0.0
        self._reads = asyncio.Semaphore(_MAX_READS)

    async def endpoints(self) -> Sequence[MetricsEndpoint]:
        """Return the endpoints of the pods, also of those that do not run.

        Raises `MotetError` if the cluster cannot be read. A cluster that is away later has the pods that it had.
        """
        if self._known is None or now() - self._listed >= _LIST_INTERVAL:
            try:
                self._known = await self._list_endpoints()
            except RetryableError:
                if self._known is None:
                    raise
            self._listed = now()
        return self._known

    async def _list_endpoints(self) -> list[MetricsEndpoint]:
        release = await find_release(self._api, self._release)
        pods = await pods_of(self._api, release.name)
        return [
            self._endpoint(PodState.of(pod, component.kind), component)
            for component in release.components
            for pod in pods.get(component.name, ())
        ]

    def _endpoint(self, pod: PodState, component: Component) -> MetricsEndpoint:
        path = component.metrics_path(self._api.namespace, pod.name)
        return MetricsEndpoint(pod.name, pod.node, self._reader(path) if pod.phase != "Pending" else _waits(pod))

    def _reader(self, path: str) -> Callable[[], Awaitable[str]]:
        async def read() -> str:
            async with self._reads:
                try:
                    return await self._api.text(path)
                except MotetError as error:
                    raise EndpointError(reason_of(error)) from None

        return read


def _waits(pod: PodState) -> Callable[[], Awaitable[str]]:
    async def read() -> str:
        raise EndpointError(f"the pod waits: {pod.problem or pod.phase}")

    return read
