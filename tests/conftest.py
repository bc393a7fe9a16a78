"""What holds for every test."""

from __future__ import annotations

import os
from tempfile import TemporaryDirectory

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Whatever tests keep in a cache, processes that they start included, is not the user's, and gone afterwards."""
    folder = TemporaryDirectory(prefix="motet-tests-")
    config.add_cleanup(folder.cleanup)
    os.environ["XDG_CACHE_HOME"] = folder.name
