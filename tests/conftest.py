"""The configuration of all tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings

pytest_plugins = ["tests.canary"]

# Without limits on an example's time, the tests do not depend on the load of the machine.
settings.register_profile("motet", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("motet")


def pytest_configure(config: pytest.Config) -> None:
    """Use a temporary cache folder in the tests and in their child processes. Delete it after the tests."""
    folder = TemporaryDirectory(prefix="motet-tests-")
    config.add_cleanup(folder.cleanup)
    os.environ["XDG_CACHE_HOME"] = folder.name


@pytest.fixture(autouse=True)
def _restore_root_logger() -> Iterator[None]:
    """Remove the handlers of a service that a test starts in its own process. Their stream is closed after the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
