"""The condition of tests that start a real cluster of Ray."""

from __future__ import annotations

import os
from importlib.util import find_spec

import pytest

needs_ray = pytest.mark.skipif(
    not (os.environ.get("TEST_RAY") and find_spec("ray")),
    reason="a cluster of Ray takes minutes and 2 GB of memory: install motet[ray], and set TEST_RAY",
)
