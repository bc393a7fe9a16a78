"""The connection of this process to a cluster of Ray, and the load of the applications there."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

from motet.core.clock import now
from motet.core.closing import closing
from motet.core.errors import Reason, RetryableError, SettingsError
from motet.core.workers import Load
from motet.transport.clients import RemoteWorker
from motet.transport.ray.channel import RayChannel
from motet.transport.ray.log_lines import use_own_log_lines

if TYPE_CHECKING:
    from ray.serve.handle import DeploymentHandle

DEPLOYMENT = "worker"
"""The name of the only deployment of each application."""

METHOD = "call"
"""The method of the replicas that answers calls."""

_INTERVAL = 1.0
"""Interval between two requests for the status of all applications, in seconds."""

_DESCRIBE_TIMEOUT = 5.0
"""Maximum time in which a replica reports its slots and its bundle, in seconds."""

_SCALED = frozenset({"HEALTHY", "UPSCALING"})
"""The states of a deployment without a running replica in which Ray starts one for the next call."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _State:
    """The state of an application's deployment. `version` is the time at which it was deployed."""

    status: str
    running: int
    version: float


class RayCluster:
    """The applications of the cluster of Ray that runs this process, or else of the one at `RAY_ADDRESS`.

    A process that Ray did not start has to run on a node of the cluster. Entering the context connects it, and raises
    `SettingsError` if there is no cluster. Without applications, it does nothing. They need not exist yet.
    """

    def __init__(self, applications: Sequence[str]) -> None:
        self._applications = applications
        self._channels: dict[str, RayChannel] = {}
        self._states: dict[str, _State] = {}
        self._read_at = -_INTERVAL
        self._reading = asyncio.Lock()
        self._connected = False

    async def __aenter__(self) -> Self:
        if self._applications:
            # Ray replaces the handler of SIGTERM, but not in a thread.
            self._connected = await asyncio.to_thread(_connect)
            for name in dict.fromkeys(self._applications):
                self._channels[name] = RayChannel(await asyncio.to_thread(_handle_of, name), name)
        return self

    async def __aexit__(self, *exception: object) -> None:
        if self._connected:
            import ray

            await asyncio.to_thread(ray.shutdown)

    def channel_to(self, application: str) -> RayChannel:
        """Return the channel to the replicas of an application."""
        return self._channels[application]

    async def watch_load(self, application: str) -> AsyncIterator[Load]:
        """Yield the load of an application every second: its slots, and its bundle.

        The slots are those of all running replicas, or 0 for no limit while Ray starts the first one.
        Raises `RetryableError` when no replica serves, and none starts for a call.
        """
        replica, version = Load(), -1.0
        while True:
            state = await self._state(application)
            if not state.running and state.status not in _SCALED:
                message = f"the application {application} has no running replica in Ray; its status is {state.status}"
                raise RetryableError(message, Reason.WORKER_UNAVAILABLE)
            if state.running and state.version != version:
                replica, version = await _described(self._channels[application]), state.version
            yield Load(slots=state.running * replica.slots, bundle_digest=replica.bundle_digest)
            await asyncio.sleep(_INTERVAL)

    async def _state(self, application: str) -> _State:
        async with self._reading:
            if now() - self._read_at >= _INTERVAL:
                try:
                    self._states = await asyncio.to_thread(_states)
                except Exception as error:
                    logger.warning("Ray does not report its status", extra={"error": type(error).__name__})
                    raise RetryableError("Ray does not report its status", Reason.WORKER_UNAVAILABLE) from None
                self._read_at = now()
        return self._states.get(application, _State("NOT_DEPLOYED", 0, 0.0))


async def _described(channel: RayChannel) -> Load:
    """Return a replica's slots and bundle. Raises the `RetryableError` of a replica that does not answer."""
    try:
        async with asyncio.timeout(_DESCRIBE_TIMEOUT), closing(RemoteWorker(channel).watch_load()) as loads:
            return replace(await anext(loads), running=0, queued=0)
    except TimeoutError:
        raise RetryableError("a replica in Ray does not report its slots", Reason.WORKER_UNAVAILABLE) from None


def _connect() -> bool:
    """Connect this process, unless it is connected. Return whether it was not. Raises `SettingsError`."""
    try:
        import ray
    except ImportError:
        raise SettingsError("Ray is not installed: pip install 'motet[ray]'") from None
    if ray.is_initialized():
        return False
    try:
        ray.init("auto", log_to_driver=False, logging_level=logging.WARNING)
    except ConnectionError as error:
        raise SettingsError(
            f"there is no Ray cluster on this machine: start Ray, or set RAY_ADDRESS. Ray: {error.__cause__ or error}"
        ) from None
    use_own_log_lines()
    return True


def _handle_of(application: str) -> Any:
    from ray import serve

    handle: DeploymentHandle[Any] = serve.get_deployment_handle(DEPLOYMENT, application, _check_exists=False)
    # This also starts the thread of the handle's router, which takes time.
    return handle.options(method_name=METHOD, stream=True)


def _states() -> dict[str, _State]:
    """Return the state of each application's deployment."""
    from ray import serve

    states = {}
    for name, application in serve.status().applications.items():
        deployment = application.deployments.get(DEPLOYMENT)
        if deployment is not None:
            running = deployment.replica_states.get("RUNNING", 0)
            states[name] = _State(str(deployment.status.value), running, application.last_deployed_time_s)
    return states
