"""Each generation has exactly one outcome, with the cause of its cancellation, and each refusal one reason."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

import pytest

from motet.core.errors import FaultError, Reason, RequestError, RetryableError
from motet.core.telemetry.families.generation_metrics import GENERATIONS, GENERATIONS_REFUSED, PARTS
from motet.core.telemetry.families.pool_metrics import POOL_RETRIES, POOL_WASTED_SECONDS
from motet.core.telemetry.fault import Fault, fault_of
from motet.toys.workers import InjectedFault, Pause, ToyDecoder, ToyLanguageModel
from tests.orchestrator.pipeline_harness import (
    MANIFEST,
    orchestrator_of,
    request_of,
    run_generation,
    script_of,
    signal_run,
    toy_decoders,
    wait_idle,
)
from tests.orchestrator.pool_harness import LOST
from tests.waiting import in_virtual_time


def counts(metric) -> Counter:
    """Return the value of each series of a counter, by its labels in the order of their declaration."""
    names = metric._labelnames
    return Counter(
        {
            tuple(sample.labels[name] for name in names): sample.value
            for each in metric.collect()
            for sample in each.samples
            if sample.value
        }
    )


class Counted:
    """The increases of counters within the context."""

    def __init__(self, *metrics) -> None:
        self.metrics = metrics

    def __enter__(self):
        self.before = [counts(metric) for metric in self.metrics]
        return self

    def __exit__(self, *exception) -> None:
        after = [counts(metric) for metric in self.metrics]
        self.by = [{**(new - old)} for new, old in zip(after, self.before, strict=True)]


def hanging():
    return orchestrator_of(ToyLanguageModel(MANIFEST.grammar, script_of("x", Pause())))


@in_virtual_time
async def test_each_generation_has_one_outcome_with_its_reason_and_cause() -> None:
    with Counted(GENERATIONS) as outcomes:
        await run_generation(orchestrator_of(script_of("fine")))
        broken = ToyDecoder("a", fault=InjectedFault(FaultError("broken")))
        await run_generation(orchestrator_of(script_of("x", signal_run("a")), toy_decoders(a=broken)))
        await run_generation(hanging(), request_of(timeout=5))

        hung_up = asyncio.create_task(run_generation(hanging()))
        await asyncio.sleep(1)
        hung_up.cancel()
        await asyncio.gather(hung_up, return_exceptions=True)

        for end in ("cancel", "interrupt"):
            motet = hanging()
            running = asyncio.create_task(run_generation(motet))
            await asyncio.sleep(1)
            if end == "cancel":
                [record], _ = await motet.generations()
                await motet.cancel(record.name)
                await motet.cancel(record.name)
            else:
                motet.interrupt()
                motet.interrupt()
            await running
            await wait_idle(motet)

    assert outcomes.by == [
        {
            ("succeeded", "", "", ""): 1,
            ("partial", "", "", ""): 1,
            ("partial", "DEADLINE_EXCEEDED", "server", ""): 1,
            ("cancelled", "CANCELLED", "caller", "hung_up"): 1,
            ("cancelled", "CANCELLED", "caller", "requested"): 1,
            ("partial", "DRAINING", "server", ""): 1,
        }
    ]


async def test_a_part_that_fails_is_counted_once_at_the_side_at_fault() -> None:
    broken = ToyDecoder("a", fault=InjectedFault(FaultError("broken")))
    with Counted(PARTS) as parts:
        await run_generation(orchestrator_of(script_of(signal_run("a"), "x"), toy_decoders(a=broken)))

    assert parts.by == [{("a", "WORKER_FAULT", "server"): 1, ("text", "", ""): 1}]


async def test_a_request_that_is_refused_is_counted_by_its_reason() -> None:
    with Counted(GENERATIONS, GENERATIONS_REFUSED) as counted:
        for request in (request_of(model="another"), request_of("  "), request_of("")):
            with suppress(RequestError):
                await run_generation(orchestrator_of(script_of("x")), request)

    assert counted.by == [{}, {("MODEL_NOT_FOUND", "caller"): 1, ("INVALID_REQUEST", "caller"): 2}]


def test_every_reason_has_a_side_at_fault() -> None:
    by_reason = {reason: fault_of(FaultError("", reason)) for reason in Reason}

    assert fault_of(None) is Fault.NONE
    assert by_reason[Reason.DEPENDENCY_FAILED] is Fault.NONE, "the failure of the other part is counted"
    callers = {reason for reason, fault in by_reason.items() if fault is Fault.CALLER}
    assert callers >= {Reason.INVALID_REQUEST, Reason.MEDIA_UNREADABLE, Reason.QUOTA_EXCEEDED, Reason.CANCELLED}
    assert not callers & {Reason.INTERNAL, Reason.WORKER_LOST, Reason.QUEUE_FULL, Reason.DEADLINE_EXCEEDED}


@in_virtual_time
async def test_a_retry_and_the_seconds_of_failed_and_cancelled_attempts_are_counted() -> None:
    with Counted(POOL_RETRIES, POOL_WASTED_SECONDS) as retried:
        refuses = ToyDecoder("a", fault=InjectedFault(RetryableError("gone"), times=1))
        await run_generation(orchestrator_of(script_of(signal_run("a")), toy_decoders(a=refuses)))
    with Counted(POOL_RETRIES, POOL_WASTED_SECONDS) as failed:
        lost = ToyDecoder("a", delay=1, fault=InjectedFault(LOST, after=2))
        await run_generation(orchestrator_of(script_of(signal_run("a")), toy_decoders(a=lost)))
    with Counted(POOL_RETRIES, POOL_WASTED_SECONDS) as cancelled:
        hung_up = asyncio.create_task(run_generation(hanging()))
        await asyncio.sleep(3)
        hung_up.cancel()
        await asyncio.gather(hung_up, return_exceptions=True)

    assert retried.by == [{("toys",): 1}, {}]
    assert failed.by == [{}, {("toys", "failed"): pytest.approx(2)}]
    assert cancelled.by == [{}, {("toys", "cancelled"): pytest.approx(3)}]
