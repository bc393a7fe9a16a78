"""Fixtures of the tests of `motet cluster`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.cli.cluster import waiting
from tests.deploy.chart import ci_values, objects
from tests.services.cli.cluster.cluster_double import ClusterDouble, deployments_path, set_ready
from tests.services.cli.cluster.installed import Installed


@pytest.fixture
async def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Installed]:
    """A release with ready pods, on a double of an API server."""
    for name in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST", "MOTET_SERVER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("_MIN_INTERVAL", "_MAX_INTERVAL"):
        monkeypatch.setattr(waiting, name, 0.01)
    folder = tmp_path / "account"
    folder.mkdir()
    double = ClusterDouble(folder)
    for each in objects(ci_values("multi-node")):
        if each["kind"] == "Deployment":
            set_ready(each)
            double.add(deployments_path(), each)
    await double.start()
    release = Installed(double, double.kubeconfig(tmp_path))
    for path, each in list(double.objects.items()):
        component = path.rpartition("/demo-")[2]
        for number in range(each["spec"]["replicas"]):
            release.add_pod(component, f"demo-{component}-{number}", f"node-{'abc'[number % 3]}")
    yield release
    await double.stop()
