"""Tests of a real cluster of Ray on this machine, with toy workers. One program makes all checks in one cluster."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.services.command import CLEAN
from tests.services.ray.on_request import needs_ray

pytestmark = [needs_ray, pytest.mark.timeout(900)]

PROMPT = 5.0
"""Maximum seconds until a replica is idle. The checked job takes 1.5 s of denoising steps alone."""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, Any]:
    """Return the outcome of each check."""
    program = [sys.executable, "-m", "tests.services.ray.cluster_program"]
    result = subprocess.run(program, stdout=subprocess.PIPE, text=True, timeout=800, check=True, env=CLEAN)
    # Ray itself also prints lines, such as those about killed replicas.
    (line,) = [line for line in result.stdout.splitlines() if line.startswith("{")]
    outcomes: dict[str, Any] = json.loads(line)
    return outcomes


def test_an_error_keeps_its_class_its_reason_and_its_metadata(outcomes: dict[str, Any]) -> None:
    assert outcomes["errors_keep_their_fields"] == [1, "MediaError", "MEDIA_UNREADABLE", "1"]


def test_the_slots_of_an_application_are_those_of_all_its_running_replicas(outcomes: dict[str, Any]) -> None:
    # No replica of the last one runs, and the first call starts it: there is no limit.
    assert outcomes["slots_are_those_of_all_replicas"] == {"motet-llm": 16, "motet-image": 3, "motet-audio": 0}


def test_a_caller_that_stops_reading_stops_the_replica(outcomes: dict[str, Any]) -> None:
    running, seconds = outcomes["cancelling_stops_the_replica"]

    assert running == 1
    assert seconds < PROMPT


def test_a_call_beyond_its_deadline_stops_the_replica(outcomes: dict[str, Any]) -> None:
    reason, seconds = outcomes["a_deadline_stops_the_replica"]

    assert reason == "DEADLINE_EXCEEDED"
    assert seconds < PROMPT


def test_killed_replicas_lose_no_call_and_change_no_answer(outcomes: dict[str, Any]) -> None:
    assert outcomes["killed_replicas_lose_no_call"] == [2, True, True]


def test_the_first_call_of_an_application_without_replicas_starts_one(outcomes: dict[str, Any]) -> None:
    assert outcomes["the_first_call_starts_a_replica"] == [0, 1]


def test_the_cluster_and_the_open_port_of_each_replica_refuse_calls_without_the_token(outcomes: dict[str, Any]) -> None:
    assert outcomes["calls_without_the_token_are_refused"] == ["UNAUTHENTICATED"] * 3


def test_errors_of_ray_have_reasons_and_hide_their_text(outcomes: dict[str, Any]) -> None:
    reasons = ["WORKER_LOST", "WORKER_UNAVAILABLE", "QUEUE_FULL", "INTERNAL"]

    assert outcomes["errors_of_ray_have_reasons"] == [reasons, False]


def test_a_replica_that_stops_finishes_its_running_calls(outcomes: dict[str, Any]) -> None:
    assert outcomes["a_replica_that_stops_finishes_its_calls"] is True


def test_an_application_that_was_deleted_is_unavailable(outcomes: dict[str, Any]) -> None:
    assert outcomes["an_application_that_is_away_is_unavailable"] == "WORKER_UNAVAILABLE"
