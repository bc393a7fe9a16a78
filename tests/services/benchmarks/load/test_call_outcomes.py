"""Tests of the outcomes of requests, as their callers and the server count them."""

from __future__ import annotations

import pytest

from motet.core.errors import CancelledError, FaultError, MotetError, OverloadedError, Reason, RetryableError
from services.benchmarks.load.call_outcomes import CallOutcomes, counted_otherwise


def outcomes(**calls: int) -> CallOutcomes:
    result = CallOutcomes()
    for key, count in calls.items():
        method, _, code = key.partition("_")
        result.calls[f"{method} {code}"] = count
    return result


def test_equal_counts_have_no_difference() -> None:
    assert counted_otherwise(outcomes(Generate_OK=3, Upload_OK=1), {"Generate OK": 3, "Upload OK": 1}) == 0


@pytest.mark.parametrize(
    ("server", "difference"),
    [
        ({"Generate OK": 2}, 1),
        ({"Generate OK": 4}, 1),
        ({"Generate OK": 2, "Generate CANCELLED": 1}, 2),
        ({"Generate OK": 3, "Watch OK": 1}, 1),
    ],
)
def test_a_call_that_the_server_missed_doubled_or_counted_with_another_code_is_a_difference(
    server: dict[str, int], difference: int
) -> None:
    assert counted_otherwise(outcomes(Generate_OK=3), server) == difference


def test_a_call_whose_caller_left_may_have_any_code_but_is_counted_once() -> None:
    callers = outcomes(Generate_OK=3)
    callers.left["Generate"] = 2

    assert counted_otherwise(callers, {"Generate OK": 4, "Generate CANCELLED": 1}) == 0
    assert counted_otherwise(callers, {"Generate OK": 4}) == 1
    assert counted_otherwise(callers, {"Generate OK": 4, "Generate CANCELLED": 2}) == 1


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OverloadedError("full", retry_after=1.0), "refused"),
        (OverloadedError("used up", Reason.QUOTA_EXCEEDED, retry_after=3.0), "refused"),
        (CancelledError("cancelled"), "cancelled"),
    ],
)
def test_a_refusal_with_a_delay_and_a_cancellation_are_outcomes(error: MotetError, outcome: str) -> None:
    result = CallOutcomes()
    result.refuse(error)

    assert result.requests == {outcome: 1}
    assert result.lost.total() == 0


@pytest.mark.parametrize(
    "error",
    [OverloadedError("full", retry_after=0.0), RetryableError("dropped", Reason.WORKER_LOST), FaultError("broken")],
)
def test_a_refusal_without_a_delay_and_other_errors_are_lost_requests(error: MotetError) -> None:
    result = CallOutcomes()
    result.refuse(error)

    assert result.lost.total() == result.sent == 1


def test_only_errors_that_the_server_reported_count_as_its_calls() -> None:
    result = CallOutcomes()
    result.call("Generate")
    result.call("Generate", OverloadedError("full"))
    result.call("Generate", RetryableError("dropped", Reason.WORKER_LOST))

    assert result.calls == {"Generate OK": 1, "Generate RESOURCE_EXHAUSTED": 1}


def test_counts_pass_from_process_to_process_and_add_up() -> None:
    one = outcomes(Generate_OK=3)
    one.left["Generate"], one.generations = 1, 4
    one.refuse(OverloadedError("full", retry_after=1.0))
    one.refuse(FaultError("broken"))
    copy = CallOutcomes.from_dict(one.as_dict())
    copy.add(one)

    assert copy.calls == {"Generate OK": 6}
    assert (copy.left["Generate"], copy.generations, copy.sent) == (2, 8, 4)
    assert copy.reasons == {"QUEUE_FULL": 2}
