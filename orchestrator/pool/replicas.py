"""The replicas of a pool, which join and leave while the pool serves."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from random import Random
from typing import Generic, TypeVar

from motet.core.clock import now
from motet.core.errors import OverloadedError, Reason, retry_delay
from orchestrator.pool.circuit_breaker import CircuitBreaker
from orchestrator.pool.duration_estimate import DurationEstimate
from orchestrator.pool.member import Member
from orchestrator.pool.pool_gauges import PoolGauges
from orchestrator.pool.queued_call import QueuedCall
from orchestrator.pool.ready.ready_replicas import ReadyReplicas
from orchestrator.pool.replica import MARGIN, Replica, earliest
from orchestrator.settings import OrchestratorSettings

Worker = TypeVar("Worker")

logger = logging.getLogger(__name__)


class Replicas(Generic[Worker]):
    """The replicas of a pool. Iterate over them to get also those that left and still run calls.

    A replica that leaves gets no new calls. When its last call has ended, its load is no longer watched, its member is
    closed, and its metrics end. A replica that joins again before that keeps its state. `on_change` is called after
    each change of a replica. `pool` is the name of the pool.
    """

    def __init__(
        self,
        pool: str,
        members: Sequence[Member[Worker]],
        settings: OrchestratorSettings,
        estimate: DurationEstimate,
        random: Random,
        gauges: PoolGauges,
        on_change: Callable[[], None],
    ) -> None:
        self._pool = pool
        self._settings = settings
        self._estimate = estimate
        self._random = random
        self._gauges = gauges
        self._on_change = on_change
        self._joined = 0
        self.ready: ReadyReplicas[Worker] = ReadyReplicas(random)
        """The members that may get calls now."""
        self.members = [self._new(member) for member in members]
        """The replicas that get calls."""
        self._leaving: list[Replica[Worker]] = []
        self._watches: dict[Replica[Worker], asyncio.Task[None]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()
        self._expected_until = -math.inf
        """The time until which a new member is expected, because one left."""

    def __iter__(self) -> Iterator[Replica[Worker]]:
        return chain(self.members, self._leaving)

    def __len__(self) -> int:
        return len(self.members) + len(self._leaving)

    def open(self) -> None:
        """Watch the loads of the members, and of later members, until `close`."""
        for replica in self.members:
            self._watch(replica)
        if not self.members:
            self._expect()

    async def close(self) -> None:
        """End all watches, and close the members."""
        for replica in tuple(self):
            self._release(replica)
        await asyncio.gather(*self._closing, return_exceptions=True)

    async def set_members(self, addresses: Iterable[str], connect: Callable[[str], Member[Worker]]) -> None:
        """Let the replicas at other addresses leave, and let those that are missing join, see `Pool.set_members`."""
        wanted = dict.fromkeys(addresses)
        if leaving := [replica for replica in self.members if replica.address not in wanted]:
            self._expect()
        for replica in leaving:
            self._remove(replica)
        known = {replica.address for replica in self.members}
        for address in wanted:
            if address not in known:
                self._add(address, connect)
                # A connection takes up to a millisecond. A thousand of them would hold the event loop.
                await asyncio.sleep(0)
        self._on_change()

    def release_if_left(self, replica: Replica[Worker]) -> None:
        """Close a replica that has left, if its last call has ended."""
        if replica.removed and not replica.attempts:
            self._leaving.remove(replica)
            self._release(replica)

    def usable(self, moment: float) -> list[Replica[Worker]]:
        """Return some of the usable replicas, see `ReadyReplicas`.

        If there are none, return none if one will probably return or join, or else replicas whose errors will explain
        why.
        """
        return self.ready.usable(moment) or self._unusable(moment)

    def free(self, moment: float) -> list[Replica[Worker]]:
        """Return those of `usable` that have a free slot. If any usable replica has one, the result is not empty."""
        return self.ready.free(moment) or [replica for replica in self._unusable(moment) if replica.free]

    def others(self, replica: Replica[Worker] | None, moment: float) -> list[Replica[Worker]]:
        """Return those of `usable` without a certain one, and only those with a free slot if there are any."""
        if others := self.ready.others(replica, moment):
            return others
        others = [each for each in self._unusable(moment) if each is not replica]
        return [each for each in others if each.free] or others

    def _unusable(self, moment: float) -> list[Replica[Worker]]:
        """Return the replicas whose errors will explain why none is usable, or none if one is or will be."""
        if self.ready.any_usable(moment) or self._returning(moment):
            return []
        eligible = [replica for replica in self.members if not replica.serves_other_bundle]
        return [replica for replica in eligible if not replica.draining] or eligible

    def reserve(self, call: QueuedCall, moment: float) -> None:
        """Count a call as work of the replica that would probably run it, until `QueuedCall.end_reservation`."""
        if candidates := self.usable(moment) or self.members:
            call.reserve_at(earliest(candidates, call))

    def slots(self) -> int:
        """Return the number of slots of all usable replicas, or of all members if none is usable; at least 1."""
        return max(1, self.ready.slots(now()) or sum(replica.slots for replica in self.members))

    @property
    def present(self) -> bool:
        """True if a member is reachable, serves the bundle of the pool, and does not drain."""
        return any(replica.present for replica in self.members)

    def missing(self, moment: float) -> bool:
        """Return whether no member serves the bundle of the pool, and none is expected to join soon."""
        # No call may reach the members that serve another bundle, not even to get an error.
        return all(replica.serves_other_bundle for replica in self.members) and not self.expected(moment)

    def missing_error(self, message: str = "", retry_after: float | None = None) -> OverloadedError:
        """Return the error of a call while no replica can be reached. It is no overload of the caller's making."""
        retry_after = retry_delay(retry_after or self._settings.return_timeout)
        of_bundle = " of this bundle" if self.members else ""
        missing = message or f"there is no {self._pool} worker{of_bundle}; try again in {retry_after:.1f} s"
        return OverloadedError(missing, Reason.WORKER_UNAVAILABLE, retry_after=retry_after)

    def expected(self, moment: float) -> bool:
        """Return whether calls wait for a replica: one left a moment ago, or the settings let them wait for any."""
        return moment < self._expected_until or (self._settings.wait_for_replicas and not self.present)

    def _returning(self, moment: float) -> bool:
        return self.expected(moment) or any(replica.returning(moment) for replica in self.members)

    def _new(self, member: Member[Worker]) -> Replica[Worker]:
        settings, random = self._settings, self._random
        breaker = CircuitBreaker(settings.eject_after, settings.eject_for, random)
        self._joined += 1
        replica = Replica(
            self._pool,
            member,
            self._estimate,
            breaker,
            random,
            settings.return_timeout,
            self._joined,
            self.ready.update,
        )
        self.ready.update(replica)
        return replica

    def _add(self, address: str, connect: Callable[[str], Member[Worker]]) -> None:
        """Let the replica at an address join. Its calls wait until its first load arrives, as after a restart."""
        replica = next((replica for replica in self._leaving if replica.address == address), None)
        if replica is None:
            replica = self._new(connect(address))
            replica.expect(self._on_change)
            self._watch(replica)
        else:
            self._leaving.remove(replica)
            replica.removed = False
            self.ready.update(replica)
        self.members.append(replica)
        logger.info("a replica joined", extra={"replica": replica.name})

    def _remove(self, replica: Replica[Worker]) -> None:
        """Let a replica leave. The calls that are reserved for it count for another one."""
        self.members.remove(replica)
        self._leaving.append(replica)
        replica.removed = True
        self.ready.update(replica)
        logger.info("a replica left", extra={"replica": replica.name, "calls": len(replica.attempts)})
        for call in tuple(replica.reserved):
            call.end_reservation()
            self.reserve(call, now())
        self.release_if_left(replica)

    def _expect(self) -> None:
        """Let calls wait for a new member, until one joins or the time for its return is over."""
        timeout = self._settings.return_timeout
        self._expected_until = now() + timeout
        asyncio.get_running_loop().call_later(timeout + MARGIN, self._on_change)

    def _watch(self, replica: Replica[Worker]) -> None:
        self._gauges.add(replica)
        self._watches[replica] = asyncio.create_task(replica.watch(self._on_change))

    def _release(self, replica: Replica[Worker]) -> None:
        self._gauges.remove(replica)
        task = asyncio.create_task(self._close(replica, self._watches.pop(replica)))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _close(self, replica: Replica[Worker], watch: asyncio.Task[None]) -> None:
        """Close a replica after its watch has ended."""
        watch.cancel()
        await asyncio.wait({watch})
        # To close a channel, gRPC looks at all tasks of the process. Closing hundreds would hold the event loop.
        async with self._turn:
            await replica.close()
            await asyncio.sleep(0)
