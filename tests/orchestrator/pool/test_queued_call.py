from __future__ import annotations

from concurrent.futures import Future

from motet.scheduling.fair_queue import FairQueue
from orchestrator.pool.queued_call import QueuedCall


def test_a_cancelled_call_is_not_served():
    call = QueuedCall("", 0, 1.0, 1.0, 0.0)
    call.turn = Future()
    call.turn.cancel()
    queue = FairQueue()
    queue.add(call)

    assert queue.first(0.0) is None
