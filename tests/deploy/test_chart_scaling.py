"""The scaling of the chart: what KEDA and a HorizontalPodAutoscaler get is what the orchestrator serves and exports."""

from __future__ import annotations

import re
from typing import Any

import pytest

from motet.core.telemetry.families import pool_metrics
from motet.toys.manifest import TOY
from motet.transport.access.authentication import _CERTIFICATE_ROLES
from motet.transport.peer import _ROLE
from orchestrator.pool.demand import DEFAULT_TARGET
from services.orchestrator.scaler.trigger import Trigger
from tests.deploy.chart import ci_values, environment, of_kind, pod_spec

VALUES = ci_values("autoscaling")
POOLS = ("encoder", "llm", *TOY.signals, "image", "audio", "video")
INSECURE = {"tls": {"source": "none"}, "allowInsecure": True}


def scaled(mode: str, **scaling: Any) -> dict[str, Any]:
    """Return values for a worker image whose number of pods follows the demand."""
    return {
        "workers": {"image": {"autoscaling": {"mode": mode, **scaling}}},
        "scaling": {"prometheus": {"serverAddress": "http://prometheus:9090"}},
        "networkPolicy": {"scrapers": [{"podSelector": {}}]},
    }


def triggers(values: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the only trigger of each ScaledObject."""
    return {name: each["spec"]["triggers"][0] for name, each in of_kind("ScaledObject", values).items()}


def test_without_a_mode_there_is_no_object_and_no_listener() -> None:
    for kind in ("ScaledObject", "TriggerAuthentication", "HorizontalPodAutoscaler"):
        assert of_kind(kind) == {}
    assert not {name for name in environment("orchestrator") if "SCALER" in name or "WAIT" in name}
    assert [port["name"] for port in of_kind("Service")["orchestrator-pods"]["spec"]["ports"]] == ["grpc", "metrics"]
    assert "keda" not in of_kind("Certificate")


def test_the_scaler_accepts_the_metadata_of_each_trigger() -> None:
    found = {
        name: Trigger.parse(trigger["metadata"], POOLS)
        for name, trigger in triggers(VALUES).items()
        if trigger["type"] == "external-push"
    }

    assert found == {
        "llm": Trigger("llm", DEFAULT_TARGET),
        "image": Trigger("image", 20),
        "video": Trigger("video", 60),
    }


def test_keda_finds_the_scaler_under_a_name_of_its_certificate_and_with_a_certificate_that_may_scale() -> None:
    addresses = {each["metadata"].get("scalerAddress") for each in triggers(VALUES).values()} - {None}
    (host, port) = addresses.pop().rsplit(":", 1)
    certificates = of_kind("Certificate", VALUES)
    (authentication,) = of_kind("TriggerAuthentication", VALUES).values()

    assert not addresses
    assert host in certificates["orchestrator"]["spec"]["dnsNames"]
    assert host == "demo-orchestrator-pods.ml.svc"
    assert environment("orchestrator", VALUES)["MOTET_SCALER_LISTEN"].endswith(f":{port}")
    assert environment("orchestrator", VALUES)["MOTET_SCALER_CLIENT_CA"] == "/etc/motet/tls/ca.crt"
    service = of_kind("Service", VALUES)["orchestrator-pods"]["spec"]
    assert {"name": "scaler", "port": int(port), "targetPort": "scaler"} in service["ports"]
    assert {"name": "scaler", "containerPort": int(port)} in pod_spec("orchestrator", VALUES)["containers"][0]["ports"]
    (uri,) = certificates["keda"]["spec"]["uris"]
    matched = _ROLE.fullmatch(uri)
    assert matched is not None
    assert matched[1] == "scaler"
    assert matched[1] in _CERTIFICATE_ROLES
    assert "server auth" not in certificates["keda"]["spec"]["usages"]
    assert {each["parameter"]: (each["name"], each["key"]) for each in authentication["spec"]["secretTargetRef"]} == {
        "caCert": (certificates["keda"]["spec"]["secretName"], "ca.crt"),
        "tlsClientCert": (certificates["keda"]["spec"]["secretName"], "tls.crt"),
        "tlsClientKey": (certificates["keda"]["spec"]["secretName"], "tls.key"),
    }


def test_a_public_service_of_the_orchestrator_does_not_have_the_scaler() -> None:
    values = {**VALUES, "orchestrator": {"service": {"type": "LoadBalancer"}}}

    assert [port["name"] for port in of_kind("Service", values)["orchestrator"]["spec"]["ports"]] == ["grpc"]


def test_without_tls_keda_has_no_certificate() -> None:
    values = {**scaled("keda"), **INSECURE}

    assert of_kind("TriggerAuthentication", values) == {}
    assert "authenticationRef" not in triggers(values)["image"]
    assert "MOTET_SCALER_CLIENT_CA" not in environment("orchestrator", values)


def test_the_peers_of_keda_reach_the_scaler_and_nothing_else() -> None:
    peers = [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "keda"}}}]

    for name, policy in of_kind("NetworkPolicy", VALUES).items():
        ports = [rule["ports"] for rule in policy["spec"].get("ingress") or [] if rule["from"] == peers]
        assert ports == ([[{"port": "scaler", "protocol": "TCP"}]] if name == "orchestrator" else [])


def test_the_queries_name_metrics_labels_and_pools_that_the_orchestrator_exports() -> None:
    (query,) = (each["metadata"]["query"] for each in triggers(VALUES).values() if each["type"] == "prometheus")
    matched = re.fullmatch(r"sum\((\w+)\{pool=\"([a-z ]+)\",(.*)\}\)", query)
    monitor = of_kind("PodMonitor", VALUES)["orchestrator"]["spec"]

    assert matched is not None
    assert matched[1] == pool_metrics.POOL_DEMAND_SECONDS._name
    assert pool_metrics.POOL_DEMAND_SECONDS._labelnames == ("pool",)
    assert matched[2] == "audio"
    assert matched[3] == 'namespace="ml",app_kubernetes_io_instance="demo"'
    assert "app.kubernetes.io/instance" in monitor["podTargetLabels"]


def test_an_empty_result_of_prometheus_is_an_error_and_not_an_idle_pool() -> None:
    metadata = triggers(scaled("prometheus"))["image"]["metadata"]

    assert metadata["ignoreNullValues"] == "false"
    assert (metadata["threshold"], metadata["activationThreshold"]) == ("10", "0")


def test_the_matchers_and_the_authentication_of_prometheus_can_be_set() -> None:
    values = scaled("prometheus")
    values["scaling"]["prometheus"] |= {"matchers": 'job="motet"', "authenticationRef": {"name": "token"}}
    trigger = triggers(values)["image"]

    assert trigger["metadata"]["query"] == 'sum(motet_pool_demand_seconds{pool="image",job="motet"})'
    assert trigger["authenticationRef"] == {"name": "token"}


@pytest.mark.parametrize(("minimum", "waits"), [(0, "true"), (1, None)])
def test_requests_wait_if_a_worker_can_be_scaled_to_zero(minimum: int, waits: str | None) -> None:
    for mode in ("keda", "prometheus"):
        variables = environment("orchestrator", scaled(mode, minReplicas=minimum))
        assert variables.get("MOTET_WAIT_FOR_REPLICAS") == waits


def test_the_scaler_and_not_the_chart_decides_the_replicas_of_a_worker_with_a_mode() -> None:
    deployments = of_kind("Deployment", VALUES)

    assert {name for name, each in deployments.items() if "replicas" not in each["spec"]} == {
        "encoder",
        "llm",
        "image",
        "audio",
        "video",
    }
    for name, each in of_kind("ScaledObject", VALUES).items():
        assert each["spec"]["scaleTargetRef"]["name"] == deployments[name]["metadata"]["name"]


def test_pods_that_scaling_may_make_have_a_disruption_budget() -> None:
    budgets = of_kind(
        "PodDisruptionBudget", {"workers": {"image": {"autoscaling": {"mode": "keda", "maxReplicas": 1}}}}
    )

    assert "image" not in budgets
    assert {"encoder", "llm", "image", "audio", "video"} <= of_kind("PodDisruptionBudget", VALUES).keys()


def test_a_pool_goes_up_at_once_and_down_after_its_times() -> None:
    spec = of_kind("ScaledObject", VALUES)["video"]["spec"]
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]

    assert (spec["minReplicaCount"], spec["maxReplicaCount"], spec["cooldownPeriod"]) == (0, 2, 300)
    assert behavior["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behavior["scaleDown"]["stabilizationWindowSeconds"] == 300


def test_the_metric_of_an_autoscaler_has_a_name_that_is_valid_in_a_path() -> None:
    values = scaled("hpa", minReplicas=1)
    values["workers"]["llm"] = {"autoscaling": {"mode": "hpa", "minReplicas": 1, "targetSeconds": 2.5}}
    found = {
        name: each["spec"]["metrics"][0]["external"]
        for name, each in of_kind("HorizontalPodAutoscaler", values).items()
    }

    assert {name: each["metric"]["name"] for name, each in found.items()} == {
        "image": "motet_demand_seconds_image",
        "llm": "motet_demand_seconds_llm",
    }
    assert found["llm"]["target"] == {"type": "AverageValue", "averageValue": "2.5"}
