"""The pauses between attempts to reach the API server."""

from __future__ import annotations

from random import Random

import pytest

from services.orchestrator.discovery.backoff import Backoff
from services.orchestrator.discovery.kubernetes_service import _MAX_BACKOFF, _MIN_BACKOFF


@pytest.mark.parametrize("seed", range(20))
def test_an_api_server_that_was_away_for_a_minute_is_called_again_within_five_seconds_and_rarely_before(
    seed: int,
) -> None:
    backoff = Backoff(_MIN_BACKOFF, _MAX_BACKOFF, Random(seed))
    attempts = [0.0]
    while attempts[-1] < 60:
        attempts.append(attempts[-1] + backoff.seconds())

    assert attempts[-1] - 60 <= 5
    assert len(attempts) <= 35

    backoff.reset()
    assert backoff.seconds() <= _MIN_BACKOFF
