"""The traces of the chart: all components send them to the collector, and only to it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.deploy.chart import ci_values, environment, of_kind
from tests.deploy.test_chart_settings import settings

NAMESPACE = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "observability"}}}]
TRACED: dict[str, Any] = {
    "tracing": {"endpoint": "https://collector.observability:4317", "ratio": 0.25, "headersSecret": "collector"},
    "networkPolicy": {"collector": NAMESPACE},
}


@pytest.mark.parametrize("name", ["orchestrator", "encoder", "llm", "image"])
def test_every_component_sends_its_traces_to_the_collector(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    found = settings(monkeypatch, name, TRACED)

    assert (found.tracing_endpoint, found.tracing_ratio) == ("https://collector.observability:4317", 0.25)
    pod = of_kind("Deployment", TRACED)[name]["spec"]["template"]["spec"]
    (mount,) = [each for each in pod["containers"][0]["volumeMounts"] if each["name"] == "tracing-headers"]
    assert str(found.tracing_headers) == f"{mount['mountPath']}/headers"
    (volume,) = [each for each in pod["volumes"] if each["name"] == "tracing-headers"]
    assert volume["secret"]["secretName"] == "collector"


def test_a_setting_of_a_component_takes_precedence() -> None:
    values = TRACED | {"workers": {"image": {"settings": {"tracing_ratio": 0.5}}}}

    ratios = {name: environment(name, values)["MOTET_TRACING_RATIO"] for name in ("image", "llm")}
    assert ratios == {"image": "0.5", "llm": "0.25"}


def test_the_policy_permits_the_collector_at_the_port_of_the_endpoint() -> None:
    policies = of_kind("NetworkPolicy", TRACED)

    (dns, collector) = policies["tracing"]["spec"]["egress"]
    assert [each["port"] for each in dns["ports"]] == [53, 53]
    assert (collector["to"], collector["ports"]) == (NAMESPACE, [{"port": 4317, "protocol": "TCP"}])
    assert "tracing" not in of_kind("NetworkPolicy")


def test_nothing_is_traced_by_default() -> None:
    assert not [name for name in environment("orchestrator") if "TRACING" in name]


def test_workers_in_ray_have_the_settings_too() -> None:
    text = yaml.safe_dump(of_kind("RayService", {**ci_values("ray"), **TRACED_IN_RAY}))

    assert text.count("tracing_endpoint") >= 5
    assert "tracing-headers" in text


TRACED_IN_RAY = {**TRACED, "networkPolicy": {**ci_values("ray").get("networkPolicy", {}), **TRACED["networkPolicy"]}}
