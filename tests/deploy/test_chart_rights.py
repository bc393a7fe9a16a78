"""The role of the orchestrator's service account: its rights are the calls that the discovery makes."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest

from services.orchestrator.discovery.kubernetes_service import KubernetesSource
from tests.deploy.chart import ci_values, of_kind
from tests.services.orchestrator.discovery.kubernetes_double import KubernetesDouble, endpoint, slice_of
from tests.waiting import until


async def test_the_rights_are_exactly_the_calls_of_the_discovery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = KubernetesDouble(tmp_path)  # It serves EndpointSlices of one namespace, and nothing else.
    await cluster.start()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(cluster.port))
    cluster.put(slice_of("a", endpoint("10.0.0.1")))
    async with aclosing(KubernetesSource(cluster.account, "motet", "decoder", "grpc").watch()) as found:
        await anext(found)
        following = anext(found)
        cluster.put(slice_of("b", endpoint("10.0.0.2")))
        await following
        await until(lambda: cluster.watches == 1)
    verbs = {"watch" if request.get("watch") else "list" for request in cluster.requests}
    await cluster.stop()

    (role,) = of_kind("Role", ci_values("multi-node")).values()
    (rule,) = role["rules"]
    assert {*rule["verbs"]} == verbs
    assert (rule["apiGroups"], rule["resources"]) == (["discovery.k8s.io"], ["endpointslices"])
