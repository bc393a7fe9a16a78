"""The objects of each template of the chart."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
import yaml

from motet.transport.peer import _ROLE
from orchestrator.quota.limits import QuotaLimits
from services.logs.levels import LogLevels
from services.orchestrator.settings import OrchestratorServiceSettings
from tests.deploy.chart import CHART, CI_VALUES, ci_values, environment, files, objects, of_kind, pod_spec

INSECURE = ci_values("cpu-nano")


def container(name: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the container of a component."""
    return dict(pod_spec(name, values)["containers"][0])


def test_every_template_is_rendered_by_a_file_of_values() -> None:
    rendered = {name for ci in CI_VALUES for name, text in files(ci_values(ci)).items() if text.strip()}
    templates = {path.relative_to(CHART / "templates").as_posix() for path in (CHART / "templates").rglob("*.yaml")}

    assert templates - rendered == {"extraobjects.yaml"}


# Deployments


@pytest.mark.parametrize(("name", "loaded"), [("image", ""), ("orchestrator", "liveness")])
def test_without_tls_the_kubelet_asks_the_health_service(name: str, loaded: str) -> None:
    found = container(name, INSECURE)

    assert found["startupProbe"]["grpc"] == {"port": 50050, "service": loaded}
    assert found["readinessProbe"]["grpc"] == {"port": 50050, "service": ""}
    assert found["livenessProbe"]["grpc"] == {"port": 50050, "service": "liveness"}


def test_with_tls_the_kubelet_asks_the_health_of_the_metrics_because_it_has_no_certificate() -> None:
    found = container("orchestrator")

    for probe, name in (("startup", "liveness"), ("readiness", ""), ("liveness", "liveness")):
        get = found[f"{probe}Probe"]["httpGet"]
        assert get == {"path": f"/health?service={name}", "port": "metrics", "scheme": "HTTPS"}
    assert environment("orchestrator")["MOTET_METRICS_TLS"] == "server"


@pytest.mark.parametrize("timeout", [None, 1.5, 60])
def test_an_orchestrator_stays_ready_while_requests_wait_for_a_worker(timeout: float | None) -> None:
    settings = {} if timeout is None else {"return_timeout": timeout}
    probe = container("orchestrator", {"orchestrator": {"settings": settings}})["readinessProbe"]

    default = OrchestratorServiceSettings.model_fields["return_timeout"].default
    assert probe["periodSeconds"] * probe["failureThreshold"] > (timeout or default)


@pytest.mark.parametrize(("seconds", "failures"), [(5, 1), (601, 121), (1800, 360)])
def test_the_startup_budget_is_at_least_the_seconds(seconds: int, failures: int) -> None:
    probe = container("llm", {"defaults": {"startupSeconds": seconds}})["startupProbe"]

    assert (probe["periodSeconds"], probe["failureThreshold"]) == (5, failures)


def test_a_rollout_is_not_given_up_while_the_weights_load() -> None:
    spec = of_kind("Deployment", {"defaults": {"startupSeconds": 3600}})["llm"]["spec"]

    assert spec["progressDeadlineSeconds"] > 3600 + spec["template"]["spec"]["terminationGracePeriodSeconds"]


@pytest.mark.parametrize("name", CI_VALUES)
def test_the_grace_period_covers_the_pause_and_the_drain(name: str) -> None:
    for component in of_kind("Deployment", ci_values(name)):
        found = container(component, ci_values(name))
        pause = found["lifecycle"]["preStop"]["sleep"]["seconds"]
        drain = int(next(each["value"] for each in found["env"] if each["name"] == "MOTET_GRACE"))
        assert pod_spec(component, ci_values(name))["terminationGracePeriodSeconds"] >= pause + drain + 2


@pytest.mark.parametrize("drain", [60, 300, 900])
def test_the_orchestrator_ends_no_earlier_than_the_workers(drain: int) -> None:
    values = {"workers": {"video": {"lifecycle": {"drainSeconds": drain, "preStopSeconds": 30}}}}

    ends = {name: pod_spec(name, values)["terminationGracePeriodSeconds"] for name in ("video", "orchestrator")}
    graces = {name: int(environment(name, values)["MOTET_GRACE"]) for name in ("video", "orchestrator")}

    assert ends["orchestrator"] >= ends["video"]
    assert graces["orchestrator"] >= graces["video"] == drain


def test_without_a_pause_there_is_no_pre_stop_hook() -> None:
    assert "lifecycle" not in container("image", {"defaults": {"lifecycle": {"preStopSeconds": 0}}})


def test_a_component_with_a_gpu_is_replaced_without_an_additional_pod() -> None:
    deployments = of_kind("Deployment", ci_values("multi-node"))
    rolling = {name: each["spec"]["strategy"]["rollingUpdate"] for name, each in deployments.items()}

    assert rolling["video"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert rolling["film"] == rolling["orchestrator"] == {"maxSurge": 1, "maxUnavailable": 0}
    assert of_kind("Deployment", ci_values("dra"))["video"]["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == 0


def test_a_strategy_takes_precedence() -> None:
    values = {"defaults": {"gpu": {"count": 1}, "strategy": {"type": "Recreate"}}}

    assert of_kind("Deployment", values)["image"]["spec"]["strategy"] == {"type": "Recreate"}


def test_a_pod_has_the_gpu_that_its_values_name() -> None:
    assert container("image", ci_values("single-gpu"))["resources"]["limits"]["nvidia.com/gpu.shared"] == 1
    assert container("llm", ci_values("mig"))["resources"]["limits"]["nvidia.com/mig-3g.40gb"] == 1
    assert container("audio", ci_values("mig"))["resources"]["limits"]["nvidia.com/mig-1g.10gb"] == 1
    assert "nvidia.com/gpu" not in container("orchestrator", ci_values("multi-node"))["resources"]["limits"]


def test_a_pod_is_scheduled_by_the_values_of_its_worker() -> None:
    video = pod_spec("video", ci_values("multi-node"))
    constraint = video["topologySpreadConstraints"][0]

    assert video["nodeSelector"] == {"pool": "h100"}
    assert video["runtimeClassName"] == "nvidia"
    assert video["priorityClassName"] == "serving"
    assert video["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert constraint["labelSelector"]["matchLabels"]["app.kubernetes.io/component"] == "video"
    assert {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}} in video["volumes"]
    assert "nodeSelector" not in pod_spec("orchestrator", ci_values("multi-node"))


def test_a_digest_takes_precedence_over_a_tag() -> None:
    digest = "sha256:" + "0" * 64
    values = {"images": {"registry": "a.example/b/", "tag": "2"}, "workers": {"image": {"image": {"digest": digest}}}}

    assert container("image", values)["image"] == f"a.example/b/motet/worker@{digest}"
    assert container("audio", values)["image"] == "a.example/b/motet/worker:2"
    assert container("orchestrator")["image"] == "motet/orchestrator:0.1.0"


def test_more_variables_and_volumes_reach_the_container() -> None:
    more = {
        "extraEnv": [{"name": "OMP_NUM_THREADS", "value": "4"}],
        "extraVolumes": [{"name": "cache", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": "cache", "mountPath": "/cache"}],
    }
    found = container("image", {"defaults": more})

    assert more["extraEnv"][0] in found["env"]
    assert more["extraVolumeMounts"][0] in found["volumeMounts"]
    assert more["extraVolumes"][0] in pod_spec("image", {"defaults": more})["volumes"]


# Services and PodDisruptionBudgets


def test_services_select_the_pods_of_their_component() -> None:
    services = of_kind("Service")

    assert services.keys() == {*of_kind("Deployment"), "orchestrator-pods"}
    for name, each in services.items():
        component = each["spec"]["selector"]["app.kubernetes.io/component"]
        assert component == name.removesuffix("-pods")


def test_a_public_service_has_the_type_and_the_port_of_the_values() -> None:
    values = {"orchestrator": {"service": {"type": "LoadBalancer", "port": 443, "annotations": {"a/b": "c"}}}}
    service = of_kind("Service", values)["orchestrator"]

    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["ports"][0]["port"] == 443
    assert service["metadata"]["annotations"] == {"a/b": "c"}


def test_only_components_with_several_pods_have_a_disruption_budget() -> None:
    budgets = of_kind("PodDisruptionBudget", ci_values("multi-node"))

    assert budgets.keys() == {"encoder", "llm", "image", "audio", "video", "animation", "orchestrator"}
    assert of_kind("PodDisruptionBudget") == {}
    assert all(each["spec"]["maxUnavailable"] == 1 for each in budgets.values())


# Certificates, keys and quotas


def test_each_certificate_has_the_role_of_its_service_as_its_only_uri() -> None:
    certificates = of_kind("Certificate")
    kinds = {name: container(name)["name"] for name in of_kind("Deployment")}

    for name, kind in kinds.items():
        (uri,) = certificates[name]["spec"]["uris"]
        assert (match := _ROLE.fullmatch(uri))
        assert match[1] == kind
    assert "uris" not in certificates["test"]["spec"]


def test_a_certificate_names_the_address_that_the_orchestrator_calls() -> None:
    certificates = of_kind("Certificate", ci_values("multi-node"))

    for name in of_kind("Deployment", ci_values("multi-node")):
        assert f"demo-{name}.ml.svc" in certificates[name]["spec"]["dnsNames"]
    assert "motet.example.com" in certificates["orchestrator"]["spec"]["dnsNames"]


def test_certificates_are_mounted_where_the_services_read_them() -> None:
    for name in of_kind("Deployment"):
        volume = next(each for each in pod_spec(name)["volumes"] if each["name"] == "tls")
        assert volume["secret"]["secretName"] == of_kind("Certificate")[name]["spec"]["secretName"]
        mount = next(each for each in container(name)["volumeMounts"] if each["name"] == "tls")
        assert environment(name)["MOTET_TLS_CERT"] == f"{mount['mountPath']}/tls.crt"


def test_the_release_has_its_own_authority_unless_an_issuer_exists() -> None:
    assert of_kind("Issuer").keys() == {"self-signed", "authority"}
    assert of_kind("Certificate")["image"]["spec"]["issuerRef"]["name"] == "demo-authority"
    assert of_kind("Issuer", ci_values("multi-node")) == {}
    issuer = of_kind("Certificate", ci_values("multi-node"))["image"]["spec"]["issuerRef"]
    assert (issuer["name"], issuer["kind"]) == ("company", "ClusterIssuer")


def test_a_certificate_is_renewed_before_it_expires() -> None:
    for each in of_kind("Certificate").values():
        duration, renew = (int(each["spec"].get(key, "0h").removesuffix("h")) for key in ("duration", "renewBefore"))
        assert timedelta(hours=renew) < timedelta(hours=duration)


def test_existing_secrets_replace_cert_manager() -> None:
    values = ci_values("air-gapped")

    assert of_kind("Certificate", values) == of_kind("Issuer", values) == {}
    tls = {each["name"]: each for each in pod_spec("audio", values)["volumes"]}["tls"]
    assert tls["secret"]["secretName"] == "decoder-tls"


def test_keys_are_a_file_that_only_the_orchestrator_has() -> None:
    values = ci_values("air-gapped")
    (secret,) = of_kind("Secret", values).values()
    records = values["orchestrator"]["access"]["keys"]["records"]

    assert base64.b64decode(secret["data"]["keys.jsonl"]).decode() == records
    assert environment("orchestrator", values)["MOTET_KEYS"] == "/etc/motet/keys/keys.jsonl"
    mounted = [name for name in of_kind("Deployment", values) if "keys" in str(pod_spec(name, values)["volumes"])]
    assert mounted == ["orchestrator"]


def test_an_existing_secret_of_keys_is_mounted_and_not_made() -> None:
    values = ci_values("multi-node")

    assert of_kind("Secret", values) == {}
    keys = {each["name"]: each for each in pod_spec("orchestrator", values)["volumes"]}["keys"]
    assert keys["secret"]["secretName"] == "motet-keys"


def test_quotas_are_a_file_of_the_orchestrator() -> None:
    values = ci_values("multi-node")
    text = of_kind("ConfigMap", values)["orchestrator-quotas"]["data"]["quotas.yaml"]

    assert yaml.safe_load(text) == values["quotas"]
    assert QuotaLimits.model_validate(yaml.safe_load(text)["default"])
    assert environment("orchestrator", values)["MOTET_QUOTAS"] == "/etc/motet/quotas/quotas.yaml"


def test_log_levels_are_a_file_that_changes_without_a_restart() -> None:
    def deployments(values: dict[str, Any]) -> dict[str, Any]:
        return of_kind("Deployment", values)

    values = ci_values("cpu-nano")
    debug = {**values, "logLevels": "info orchestrator.pool=debug"}
    levels = of_kind("ConfigMap", debug)["log-levels"]["data"]["levels"]

    assert LogLevels.parse(levels, "levels") == LogLevels("info", {"orchestrator.pool": "debug"})
    assert deployments(values) == deployments(debug)
    for component in ("orchestrator", "llm", "image"):
        assert environment(component, values)["MOTET_LOG_LEVEL_FILE"] == "/etc/motet/log-levels/levels"
        mounts = pod_spec(component, values)["containers"][0]["volumeMounts"]
        assert "/etc/motet/log-levels" in [mount["mountPath"] for mount in mounts]


def test_a_component_with_its_own_log_level_has_no_file() -> None:
    values = {"workers": {"image": {"settings": {"log_level": "debug"}}}}

    assert "MOTET_LOG_LEVEL_FILE" not in environment("image", values)
    assert environment("image", values)["MOTET_LOG_LEVEL"] == "debug"
    assert "MOTET_LOG_LEVEL_FILE" in environment("llm", values)


# Devices and weights


def test_each_worker_gets_its_own_claim_or_shares_an_existing_one() -> None:
    values = ci_values("dra")
    claims = of_kind("ResourceClaimTemplate", values)

    name = {
        component: next(name for name in claims if name.startswith(f"{component}-gpu-"))
        for component in ("image", "llm", "video")
    }
    assert claims.keys() == {*name.values()}
    request = claims[name["image"]]["spec"]["spec"]["devices"]["requests"][0]["exactly"]
    assert request["deviceClassName"] == "mig.nvidia.com"
    assert "1g.10gb" in request["selectors"][0]["cel"]["expression"]
    assert pod_spec("image", values)["resourceClaims"] == [
        {"name": "gpu", "resourceClaimTemplateName": f"demo-{name['image']}"}
    ]
    for shared in ("encoder", "audio"):
        assert pod_spec(shared, values)["resourceClaims"] == [{"name": "gpu", "resourceClaimName": "shared-gpu"}]
        assert container(shared, values)["resources"]["claims"] == [{"name": "gpu"}]


@pytest.mark.parametrize(
    ("name", "volume", "bundle"),
    [
        ("single-gpu", {"persistentVolumeClaim": {"claimName": "models", "readOnly": True}}, "/weights/nextgpt"),
        ("multi-node", {"persistentVolumeClaim": {"claimName": "demo-weights", "readOnly": True}}, "/weights"),
        ("dra", {"image": {**ci_values("dra")["weights"]["imageVolume"], "pullPolicy": "IfNotPresent"}}, "/weights"),
    ],
)
def test_every_component_mounts_the_bundle_read_only(name: str, volume: dict[str, Any], bundle: str) -> None:
    for component in of_kind("Deployment", ci_values(name)):
        assert {"name": "weights", **volume} in pod_spec(component, ci_values(name))["volumes"]
        mounts = container(component, ci_values(name))["volumeMounts"]
        assert {"name": "weights", "mountPath": "/weights", "readOnly": True} in mounts
        assert environment(component, ci_values(name))["MOTET_BUNDLE"] == bundle


def test_an_installed_bundle_needs_no_volume() -> None:
    assert environment("image")["MOTET_BUNDLE"] == "nano"
    assert "weights" not in [each["name"] for each in pod_spec("image")["volumes"]]


def test_another_bundle_another_download_or_another_image_is_another_job_because_jobs_are_immutable() -> None:
    def name(**changes: Any) -> str:
        values = ci_values("multi-node")
        values["weights"]["hydrated"] |= changes
        return min(of_kind("Job", values))

    fetch = ci_values("multi-node")["weights"]["hydrated"]["fetch"]
    names = {name(), name(digest="1" * 64), name(fetch={**fetch, "args": ["copy"]})}

    assert len(names) == 3
    assert name() == name(size="300Gi") == name(storageClassName="other")
    image = of_kind("Job", {**ci_values("multi-node"), "images": {"tag": "9"}})
    assert image.keys().isdisjoint(names)


def test_the_claim_outlives_the_release() -> None:
    claim = of_kind("PersistentVolumeClaim", ci_values("multi-node"))["weights"]

    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"]["storageClassName"] == "shared"


# Monitors, the route, and other objects


def test_each_component_is_scraped_by_the_name_of_its_certificate() -> None:
    values = ci_values("multi-node")
    monitors = of_kind("PodMonitor", values)

    assert monitors.keys() == of_kind("Deployment", values).keys()
    for name, monitor in monitors.items():
        (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
        assert endpoint["tlsConfig"]["serverName"] in of_kind("Certificate", values)[name]["spec"]["dnsNames"]
        assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert of_kind("PodMonitor") == {}


def test_a_route_leads_to_the_service_of_the_orchestrator() -> None:
    spec = of_kind("GRPCRoute", ci_values("multi-node"))["orchestrator"]["spec"]

    assert spec["rules"] == [{"backendRefs": [{"name": "demo-orchestrator", "port": 50050}]}]
    assert spec["hostnames"] == ["motet.example.com"]
    assert of_kind("GRPCRoute") == {}


def test_other_objects_may_be_text_with_template_expressions() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: '{{ .Release.Name }}-more'}"
    other = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "demo-other"}}

    assert of_kind("ConfigMap", {"extraObjects": [text, other]}).keys() >= {"more", "other"}


def test_every_object_has_the_labels_of_the_release() -> None:
    for name in CI_VALUES:
        for each in objects(ci_values(name)):
            assert each["metadata"]["labels"]["app.kubernetes.io/instance"] == "demo"
            assert each["metadata"]["namespace"] == "ml"
