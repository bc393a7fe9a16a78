"""One of several workers that do the same work."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from random import Random
from typing import Generic, TypeVar

from motet.core.clock import now
from motet.core.closing import closing
from motet.core.errors import FaultError, MotetError, Reason, RetryableError
from motet.core.workers import REPORT_INTERVAL, Load
from motet.scheduling.moving_average import MovingAverage
from orchestrator.pool.attempt import Attempt
from orchestrator.pool.circuit_breaker import CircuitBreaker
from orchestrator.pool.duration_estimate import DurationEstimate
from orchestrator.pool.member import Member
from orchestrator.pool.queued_call import QueuedCall, is_refusal

Worker = TypeVar("Worker")

logger = logging.getLogger(__name__)

_MIN_BACKOFF, _MAX_BACKOFF = 0.1, 0.5
"""Minimum and maximum seconds between two attempts to watch a worker that cannot be reached."""

_SILENT_INTERVALS = 3
"""Number of `REPORT_INTERVAL` without a load report, one after another, after which a worker counts as unreachable."""

MARGIN = 0.01
"""Margin after a timeout, in seconds: an event loop may wake one clock tick early."""


class ReplicaState(StrEnum):
    """The reason for which a replica gets calls or none."""

    READY = "ready"
    STALLED = "stalled"
    """A call is silent for too long."""
    EJECTED = "ejected"
    """Its calls failed one after another, and none has succeeded since."""
    DRAINING = "draining"
    """It takes no new calls, or has left the pool."""
    OTHER_BUNDLE = "other_bundle"
    """It serves another bundle than its pool."""
    UNREACHABLE = "unreachable"


class Replica(Generic[Worker]):
    """A worker, the calls it runs, and whether it should get more calls.

    `pool` is the pool's name, for log lines. A member without `loads` is in this process: always reachable, and without
    a limit on its calls. `on_state` is called after each change of the state, of the slots or of the running calls.
    """

    def __init__(
        self,
        pool: str,
        member: Member[Worker],
        estimate: DurationEstimate,
        circuit_breaker: CircuitBreaker,
        random: Random,
        return_timeout: float,
        number: int,
        on_state: Callable[[Replica[Worker]], None],
    ) -> None:
        self.name = f"{pool} at {member.address}"
        self.address = member.address
        self.worker = member.worker
        self.close = member.close
        self.circuit_breaker = circuit_breaker
        self.attempts: dict[Attempt[Worker], None] = {}
        """The attempts of this pool's calls that the worker runs."""
        self.reserved: dict[QueuedCall, None] = {}
        """Calls that will probably come. They take no slot."""
        self.silence = MovingAverage()
        """The longest silences of complete calls in seconds, see `Hedges`."""
        self.removed = False
        """True if the worker is no member of the pool anymore. It finishes its calls and gets no others."""
        self.balanced = member.balanced
        """True if the worker stands for several replicas. A failed call may then be sent to it again at once, and the
        failures of one of them do not eject the others."""
        self.number = number
        """The position of the replica in the order in which the pool's replicas joined."""
        self._stalled = False
        self._on_state = on_state
        self._loads = member.loads
        self._bundle_digest = member.bundle_digest
        self._estimate = DurationEstimate(initial=estimate)
        self._random = random
        self._return_timeout = return_timeout
        self._reachable = member.loads is None
        self._gone_at = -math.inf
        """The time at which the worker became unreachable or began to drain."""
        self._load = Load()
        self._reports = 0
        """Number of load reports that were read."""
        self._foreign_seconds = 0.0

    @property
    def stalled(self) -> bool:
        """True if a call was silent for too long, until the worker sends an item or a load report."""
        return self._stalled

    @stalled.setter
    def stalled(self, stalled: bool) -> None:
        if stalled is not self._stalled:
            self._stalled = stalled
            self._on_state(self)

    @property
    def slots(self) -> int:
        """Maximum number of calls that the worker runs at a time; 0 for no limit."""
        return self._load.slots

    @property
    def free(self) -> bool:
        """True if the worker has a free slot, as far as this pool knows."""
        return not self.slots or len(self.attempts) < self.slots

    @property
    def watched(self) -> bool:
        """True if the worker reports its load."""
        return self._loads is not None

    @property
    def draining(self) -> bool:
        """True if the worker refuses calls because it is about to stop."""
        return self._load.draining

    @property
    def serves_other_bundle(self) -> bool:
        """True if the worker reports another bundle than the one that it must serve."""
        return self._is_other(self._load.bundle_digest)

    def _is_other(self, digest: str) -> bool:
        return bool(self._bundle_digest and digest) and digest != self._bundle_digest

    @property
    def present(self) -> bool:
        """True if the worker is reachable, serves the bundle of its pool, and does not drain."""
        return self._reachable and not self._load.draining and not self.serves_other_bundle

    @property
    def state(self) -> ReplicaState:
        """The state of the replica."""
        if not self._reachable:
            return ReplicaState.UNREACHABLE
        if self.draining or self.removed:
            return ReplicaState.DRAINING
        if self.serves_other_bundle:
            return ReplicaState.OTHER_BUNDLE
        if self.circuit_breaker.until is not None:
            return ReplicaState.EJECTED
        return ReplicaState.STALLED if self.stalled else ReplicaState.READY

    def usable(self, now: float) -> bool:
        """Return whether the worker is present, not stalled and not ejected."""
        return self.present and not self.stalled and self.circuit_breaker.allows(now)

    def returning(self, now: float) -> bool:
        """Return whether the worker will probably be usable soon: it is stalled, or was present shortly before."""
        return self.stalled if self.present else now < self._gone_at + self._return_timeout

    def outstanding(self, units: float = 0.0) -> float:
        """Return the predicted seconds until the worker has finished all its work and `units` more units."""
        # Copies, because metrics are read from another thread.
        own = sum(max(0.0, attempt.call.units - attempt.call.done) for attempt in tuple(self.attempts))
        reserved = sum(call.units for call in tuple(self.reserved))
        return self._foreign_seconds + self._estimate.seconds(own + reserved + units)

    def start(self, call: QueuedCall, now: float) -> Attempt[Worker]:
        """Assign a call to the worker."""
        attempt = Attempt(call, self, now)
        call.done = 0.0
        call.attempts += 1
        self.attempts[attempt] = None
        self.circuit_breaker.start()
        self._on_state(self)
        return attempt

    def end(self, attempt: Attempt[Worker], now: float, error: MotetError | None, complete: bool) -> bool:
        """Record the end of an attempt and return whether it ejects the replica.

        An attempt without an error that is not `complete` was stopped by its caller.
        """
        attempt.record_end(error, complete)
        ejected = False
        del self.attempts[attempt]
        if complete:
            self._estimate.learn(now - attempt.started, attempt.call.units)
            self.circuit_breaker.succeed()
        elif isinstance(error, RetryableError) and not is_refusal(error) and not self.balanced:
            ejected = self.circuit_breaker.fail(now)
        else:
            self.circuit_breaker.ignore()
        self._on_state(self)
        if error is not None:
            fields = {"replica": self.name, "reason": error.reason.value, "attempts": attempt.call.attempts}
            logger.info("a call failed at a replica", extra=fields)
        if ejected:
            logger.warning("a replica was ejected after consecutive failures", extra={"replica": self.name})
        return ejected

    async def watch(self, on_change: Callable[[], None]) -> None:
        """Watch the worker's load until cancelled, and call `on_change` after each change.

        The worker counts as unreachable while its stream cannot be opened, and after `_SILENT_INTERVALS` without a
        report, which is how a frozen process looks. The attempts at a frozen process end.
        """
        if self._loads is None:
            return
        backoff = _MIN_BACKOFF
        while True:
            reports = self._reports
            reading = asyncio.create_task(self._read_loads(on_change))
            try:
                if await self._is_silent(reading) and self._reachable:
                    self._end_attempts()
            finally:
                reading.cancel()
                await asyncio.wait({reading})
            if self._reachable:
                self._reachable = self._stalled = False
                self._on_state(self)
                logger.warning("a replica cannot be reached", extra={"replica": self.name, "calls": len(self.attempts)})
                self.expect(on_change)
            on_change()
            if self._reports > reports:
                backoff = _MIN_BACKOFF
            await asyncio.sleep(backoff * self._random.uniform(0.5, 1.0))
            backoff = min(_MAX_BACKOFF, backoff * 2)

    async def _read_loads(self, on_change: Callable[[], None]) -> None:
        """Read the worker's loads until their stream ends."""
        assert self._loads is not None
        with suppress(MotetError):  # Calls that are sent to an unreachable worker report the error.
            async with closing(self._loads()) as loads:
                async for load in loads:
                    self._reports += 1
                    self._receive(load, on_change)
                    on_change()

    async def _is_silent(self, reading: asyncio.Task[None]) -> bool:
        """Wait until `reading` ends and return False, or return True after `_SILENT_INTERVALS` without a report."""
        silent = 0
        while not reading.done():
            reports = self._reports
            await asyncio.wait({reading}, timeout=REPORT_INTERVAL)
            # If this process itself stood still, only one interval ends without the reports that came.
            silent = 0 if self._reports > reports else silent + 1
            if silent == _SILENT_INTERVALS:
                return not reading.done()
        return False

    def _receive(self, load: Load, on_change: Callable[[], None]) -> None:
        calls = load.running + load.queued
        if min(load.running, load.queued, load.slots) < 0 or not 0 <= load.seconds < math.inf:
            raise FaultError("a worker reported an impossible load")
        if not self._reachable:
            logger.info("a replica was reached", extra={"replica": self.name})
            self.circuit_breaker.recover(now())
        if load.draining and not self._load.draining:
            logger.info("a replica drains", extra={"replica": self.name, "calls": len(self.attempts)})
            self.expect(on_change)
        if self._is_other(load.bundle_digest) and not self.serves_other_bundle:
            digests = {"bundle": load.bundle_digest, "expected": self._bundle_digest}
            logger.error("a replica serves another bundle", extra={"replica": self.name, **digests})
        self._reachable, self._stalled, self._load = True, False, load
        self._on_state(self)
        # The worker's report includes this pool's own calls, and the pool knows the progress of those better.
        self._foreign_seconds = load.seconds * max(0, calls - len(self.attempts)) / calls if calls else 0.0

    def _end_attempts(self) -> None:
        error = RetryableError("a worker stopped reporting its load; try again", Reason.WORKER_LOST)
        for attempt in tuple(self.attempts):
            attempt.end(error)

    def expect(self, on_change: Callable[[], None]) -> None:
        """Record that the worker is away, perhaps for a restart. Calls wait for it until `on_change` is called."""
        self._gone_at = now()
        asyncio.get_running_loop().call_later(self._return_timeout + MARGIN, on_change)


def earliest(candidates: Sequence[Replica[Worker]], call: QueuedCall) -> Replica[Worker]:
    """Return the candidate that is predicted to finish a call first."""
    if len(candidates) == 1:
        return candidates[0]
    return min(candidates, key=lambda replica: (replica.outstanding(call.units), len(replica.attempts)))
