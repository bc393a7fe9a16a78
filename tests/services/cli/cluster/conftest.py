"""Fixtures of the tests of `motet cluster`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.cli.cluster import waiting
from tests.deploy.chart import ci_values, objects
from tests.services.cli.cluster.cluster_double import ClusterDouble, deployments_path, set_ready
from tests.services.cli.cluster.installed import Installed
from tests.services.cli.cluster.prepared import Prepared


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


@pytest.fixture
async def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Prepared]:
    """A cluster on which the chart may be installed, as a double of an API server."""
    folder = tmp_path / "account"
    folder.mkdir()
    double = ClusterDouble(folder)
    await double.start()
    double.kubeconfig(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    cluster = Prepared(double, tmp_path, set())
    cluster.prepare()
    yield cluster
    await double.stop()
