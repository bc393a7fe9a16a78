"""Tests of errors."""

from __future__ import annotations

import math

import pytest

from motet.core.errors import retry_delay


@pytest.mark.parametrize(("wait", "delay"), [(-1.0, 0.1), (0.0, 0.1), (2.5, 2.5), (3600.0, 60.0), (math.inf, 60.0)])
def test_a_retry_delay_is_the_expected_wait_from_a_tenth_of_a_second_to_a_minute(wait: float, delay: float) -> None:
    assert retry_delay(wait) == delay
