"""The NetworkPolicies of the chart: they allow the calls that the code makes, and no others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.deploy.chart import CI_VALUES, Object, ci_values, environment, objects, of_kind, pods

Edge = tuple[str, str, str]
"""The component of the caller, the component of the server, and the name of its port."""

PORTS = ("grpc", "metrics", "scaler")


def components(rendered: list[Object]) -> dict[str, Mapping[str, str]]:
    """Return the labels of the pods of each component."""
    labels = [pod["metadata"]["labels"] for _, pod in pods(rendered)]
    return {each["app.kubernetes.io/component"]: each for each in labels}


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Return whether a selector with `matchLabels` and `NotIn` selects a pod."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    expressions = selector.get("matchExpressions", [])
    assert all(each["operator"] == "NotIn" for each in expressions)
    excluded = any(labels.get(each["key"]) in each["values"] for each in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and not excluded


def rules(rendered: list[Object], labels: Mapping[str, str], direction: str) -> Iterator[Object]:
    """Yield the rules that apply to a pod in one direction. A pod without a policy has one that allows everything."""
    policies = [each["spec"] for each in rendered if each["kind"] == "NetworkPolicy"]
    policies = [each for each in policies if selects(each["podSelector"], labels) and direction in each["policyTypes"]]
    if not policies:
        yield {}
    for policy in policies:
        yield from policy.get(direction.lower()) or []


def permits(rule: Object, peers: str, labels: Mapping[str, str], port: str) -> bool:
    """Return whether a rule permits a pod of the same namespace at a port. A rule without peers permits all."""
    if "ports" in rule and port not in [each["port"] for each in rule["ports"]]:
        return False
    return peers not in rule or any(
        selects(peer["podSelector"], labels) for peer in rule[peers] if peer.keys() == {"podSelector"}
    )


def allowed(rendered: list[Object]) -> set[Edge]:
    """Return all connections between components that both ends allow."""
    return {
        (caller, server, port)
        for caller, caller_labels in components(rendered).items()
        for server, server_labels in components(rendered).items()
        for port in PORTS
        if any(permits(rule, "to", server_labels, port) for rule in rules(rendered, caller_labels, "Egress"))
        if any(permits(rule, "from", caller_labels, port) for rule in rules(rendered, server_labels, "Ingress"))
    }


def called(values: Mapping[str, Any]) -> set[Edge]:
    """Return the calls of the orchestrator's code: one to each address in its settings."""
    variables = environment("orchestrator", values)
    text = "".join(variables[name] for name in ("MOTET_ENCODER", "MOTET_LANGUAGE_MODEL", "MOTET_DECODERS"))
    hosts = set(re.findall(r'"(?:dns:///|kubernetes://ml/)demo-([a-z0-9-]+)(?:\.ml\.svc:50050|:grpc)"', text))
    services = of_kind("Service", values)
    names = {services[host]["spec"]["selector"]["app.kubernetes.io/component"] for host in hosts}
    return {("orchestrator", name, "grpc") for name in names}


@pytest.mark.parametrize("name", [name for name in CI_VALUES if name != "ray"])
def test_the_allowed_connections_are_exactly_the_calls_of_the_orchestrator(name: str) -> None:
    values = {**ci_values(name), "tests": {"enabled": False}}

    assert allowed(objects(values)) == called(values)
    assert len(called(values)) >= 5


def test_the_pods_of_helm_test_reach_the_health_of_each_component_and_the_orchestrator() -> None:
    edges = {edge for edge in allowed(objects()) if edge[0] == "test"}

    workers = of_kind("Deployment")
    assert edges == {("test", name, "metrics") for name in workers} | {("test", "orchestrator", "grpc")}


def test_every_pod_is_denied_by_default_in_both_directions() -> None:
    rendered = objects(ci_values("multi-node"))
    deny = of_kind("NetworkPolicy", ci_values("multi-node"))["default-deny"]["spec"]

    assert deny["policyTypes"] == ["Ingress", "Egress"]
    assert not deny.keys() & {"ingress", "egress"}
    assert all(selects(deny["podSelector"], labels) for labels in components(rendered).values())


def test_a_missing_policy_is_found() -> None:
    rendered = [each for each in objects() if each["kind"] != "NetworkPolicy"]

    assert ("image", "llm", "grpc") in allowed(rendered)


def test_no_rule_is_without_peers() -> None:
    for name in CI_VALUES:
        for policy in of_kind("NetworkPolicy", ci_values(name)).values():
            for rule in policy["spec"].get("ingress") or []:
                assert rule["from"]
            for rule in policy["spec"].get("egress") or []:
                assert rule["to"]


def test_scrapers_reach_the_metrics_and_nothing_else() -> None:
    scraper = {"podSelector": {"matchLabels": {"app": "prometheus"}}}

    for name, policy in of_kind("NetworkPolicy", ci_values("air-gapped")).items():
        ports = [rule["ports"] for rule in policy["spec"].get("ingress") or [] if scraper in rule["from"]]
        assert ports == ([] if name in ("default-deny", "test") else [[{"port": "metrics", "protocol": "TCP"}]])


def test_what_a_pod_monitor_scrapes_is_what_the_pods_serve_and_the_policies_allow() -> None:
    values = ci_values("multi-node")
    rendered = objects(values)
    policies = of_kind("NetworkPolicy", values)

    for name, monitor in of_kind("PodMonitor", values).items():
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        selected = [pod for _, pod in pods(rendered) if selects(monitor["spec"]["selector"], pod["metadata"]["labels"])]
        (spec,) = [each["spec"] for each in selected]
        ports = {each["name"]: each["containerPort"] for each in spec["containers"][0]["ports"]}
        variables = environment(name, values)
        assert variables["MOTET_METRICS"] == f"0.0.0.0:{ports[endpoint['port']]}"
        assert endpoint["scheme"] == ("https" if variables["MOTET_METRICS_TLS"] == "server" else "http")
        allowed_ports = [
            port["port"]
            for rule in policies[name]["spec"]["ingress"]
            if values["networkPolicy"]["scrapers"][0] in rule["from"]
            for port in rule["ports"]
        ]
        assert allowed_ports == [endpoint["port"]]


@pytest.mark.parametrize("name", CI_VALUES)
def test_with_tls_probes_use_the_address_of_the_metrics_only(name: str) -> None:
    for component, each in of_kind("Deployment", ci_values(name)).items():
        container = each["spec"]["template"]["spec"]["containers"][0]
        probes = [container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
        ports = {probe["httpGet"]["port"] if "httpGet" in probe else probe["grpc"]["port"] for probe in probes}
        secure = "MOTET_TLS_CERT" in environment(component, ci_values(name))
        assert ports == ({"metrics"} if secure else {50050})


def test_workers_may_open_no_connection() -> None:
    for name in ("encoder", "llm", "image"):
        assert "egress" not in of_kind("NetworkPolicy")[name]["spec"]


def test_the_policies_can_be_switched_off() -> None:
    assert of_kind("NetworkPolicy", {"networkPolicy": {"enabled": False}}) == {}


def test_every_address_of_the_orchestrator_is_a_headless_service_of_ready_pods() -> None:
    decoders = json.loads(environment("orchestrator")["MOTET_DECODERS"])

    for address in [address for addresses in decoders.values() for address in addresses]:
        service = of_kind("Service")[address.partition(".")[0].removeprefix("dns:///demo-")]["spec"]
        assert service["clusterIP"] == "None"
        assert not service.get("publishNotReadyAddresses", False)
        assert service["ports"][0] == {"name": "grpc", "port": 50050, "targetPort": "grpc"}
