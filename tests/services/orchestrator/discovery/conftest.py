"""Fixtures of the tests of discovery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.services.orchestrator.discovery.kubernetes_double import KubernetesDouble


@pytest.fixture
async def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[KubernetesDouble]:
    """A double of an API server, at the address in the environment of this process."""
    folder = tmp_path / "account"
    folder.mkdir()
    double = KubernetesDouble(folder)
    await double.start()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(double.port))
    yield double
    await double.stop()
