"""The mode ray of the chart: a RayService of KubeRay, whose cluster each orchestrator joins."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from services.ray.settings import RayWorker
from services.ray.worker import service_of
from tests.deploy.chart import NEWEST, OLDEST, Object, ci_values, environment, objects, of_kind, pod_spec, pods
from tests.deploy.object_errors import errors
from tests.deploy.test_chart_network import allowed
from tests.services.ray.on_request import needs_ray

VALUES = ci_values("ray")


def service(values: Object = VALUES) -> Object:
    """Return the specification of the RayService."""
    return dict(of_kind("RayService", values)["ray"]["spec"])


def applications(values: Object = VALUES) -> dict[str, Object]:
    """Return the applications by their names."""
    config = yaml.safe_load(service(values)["serveConfigV2"])
    return {each["name"]: each for each in config["applications"]}


def groups(values: Object = VALUES) -> dict[str, Object]:
    """Return the groups of pods by their names."""
    return {each["groupName"]: each for each in service(values)["rayClusterConfig"]["workerGroupSpecs"]}


def in_ray(**image: Any) -> Object:
    """Return the values with others for the worker image."""
    return {**VALUES, "workers": {**VALUES["workers"], "image": image}}


def test_each_worker_is_an_application_and_a_group_of_pods_and_no_deployment() -> None:
    names = {"encoder", "llm", "image", "audio", "video"}

    assert applications().keys() == groups().keys() == names
    assert of_kind("Deployment", VALUES).keys() == {"orchestrator"}


def test_the_builder_and_the_services_accept_the_arguments_of_each_application() -> None:
    for application in applications().values():
        assert application["import_path"] == "services.ray.worker:build"
        # Without a route, the proxies of Serve are never healthy, and KubeRay calls the pods of the workers not ready.
        assert application["route_prefix"] == f"/{application['name']}"
        worker = RayWorker.model_validate(application["args"])
        assert service_of(worker.kind)(worker.service_options()).settings.bundle == "nano"


def test_settings_of_a_worker_reach_its_service() -> None:
    llm = RayWorker.model_validate(applications()["llm"]["args"])

    assert llm.service_options()["max_running"] == llm.deployment_options()["max_ongoing_requests"] == 16
    threads = RayWorker.model_validate(applications(in_ray(settings={"threads": 3}))["image"]["args"])
    assert threads.service_options()["threads"] == 3


def test_the_replicas_of_a_worker_fit_exactly_into_its_pods() -> None:
    for name, group in groups().items():
        worker = RayWorker.model_validate(applications()[name]["args"])
        (offered,) = yaml.safe_load(yaml.safe_load(group["rayStartParams"]["resources"])).items()
        assert worker.resources == {name: 1}
        assert offered[0] == name
        assert (worker.min_replicas, worker.max_replicas) == (
            group["minReplicas"] * offered[1],
            group["maxReplicas"] * offered[1],
        )
        gpus = group["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu", 0)
        assert group["rayStartParams"]["num-gpus"] == str(gpus)
        assert gpus - 0.01 <= worker.num_gpus * offered[1] <= gpus


@pytest.mark.parametrize("number", range(1, 65))
def test_shares_of_a_gpu_never_exceed_it(number: int) -> None:
    share = applications(in_ray(ray={"replicasPerPod": number}))["image"]["args"]["num_gpus"]

    assert 0 < share * number <= 1


def test_a_modality_scales_by_the_calls_of_its_replicas() -> None:
    video = RayWorker.model_validate(applications()["video"]["args"])

    assert video.deployment_options()["autoscaling_config"] == {
        "min_replicas": 0,
        "max_replicas": 2,
        "target_ongoing_requests": 4,
        "upscale_delay_s": 10,
        "downscale_delay_s": 600,
    }
    assert service()["rayClusterConfig"]["enableInTreeAutoscaling"] is True


def test_without_scaling_there_is_no_autoscaler_and_the_head_has_no_token() -> None:
    values = {**VALUES, "workers": {"encoder": {"gpu": {"count": 0}}}}
    head = service(values)["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]

    assert service(values)["rayClusterConfig"]["enableInTreeAutoscaling"] is False
    assert head["automountServiceAccountToken"] is False
    assert head["serviceAccountName"] in {f"demo-{name}" for name in of_kind("ServiceAccount", values)}


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
def test_the_pods_of_ray_fit_the_schema_of_kubernetes(version: str) -> None:
    rendered = [each for each in objects(VALUES, version) if each["kind"] == "RayService"]
    found = {name: {"apiVersion": "v1", "kind": "Pod", **pod} for name, pod in pods(rendered)}

    assert len(found) == 6
    for name, pod in found.items():
        pod["metadata"]["name"] = name
        assert errors(pod, version) == []


def test_a_pod_of_ray_has_no_certificate_and_no_command_because_kuberay_sets_it() -> None:
    for group in groups().values():
        spec = group["template"]["spec"]
        (container,) = spec["containers"]
        assert not container.keys() & {"command", "args", "startupProbe", "readinessProbe", "livenessProbe", "ports"}
        assert {volume["name"] for volume in spec["volumes"]} == {"tmp"}


def test_placement_weights_and_shared_memory_of_a_worker_are_those_of_its_pods() -> None:
    weights = {"source": "persistentVolumeClaim", "persistentVolumeClaim": {"claimName": "bundle"}}
    values = {**in_ray(sharedMemory="2Gi", tolerations=[{"key": "a"}], extraEnv=[{"name": "A", "value": "b"}])}
    spec = groups({**values, "weights": weights})["image"]["template"]["spec"]
    container = spec["containers"][0]

    assert groups()["video"]["template"]["spec"]["nodeSelector"] == {"pool": "l40s"}
    assert spec["tolerations"] == [{"key": "a"}]
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp", "/dev/shm", "/weights"}
    assert {"name": "A", "value": "b"} in container["env"]
    assert applications({**values, "weights": weights})["image"]["args"]["options"]["bundle"] == "/weights"


def test_the_orchestrator_calls_the_applications() -> None:
    variables = environment("orchestrator", VALUES)

    assert yaml.safe_load(variables["MOTET_ENCODER"]) == ["ray:encoder"]
    assert yaml.safe_load(variables["MOTET_LANGUAGE_MODEL"]) == ["ray:llm"]
    assert yaml.safe_load(variables["MOTET_DECODERS"]) == {
        name: [f"ray:{name}"] for name in ("image", "audio", "video")
    }


def test_the_orchestrators_pod_is_a_node_of_the_cluster_without_resources_before_it_starts() -> None:
    spec = pod_spec("orchestrator", VALUES)
    (node,) = spec["initContainers"]
    (container,) = spec["containers"]
    address = "demo-ray-head-svc.ml.svc:6379"

    assert node["restartPolicy"] == "Always"
    assert node["args"][:3] == [f"--address={address}", "--num-cpus=0", "--num-gpus=0"]
    assert f"--node-manager-port={node['startupProbe']['tcpSocket']['port']}" in node["args"]
    assert {"name": "RAY_ADDRESS", "value": address} in container["env"]
    assert spec["shareProcessNamespace"] is True
    # A process finds its node among the processes, and connects to it through sockets and memory.
    for mount in ("/tmp", "/dev/shm"):
        assert all(mount in [each["mountPath"] for each in one["volumeMounts"]] for one in (node, container))


def test_nodes_of_ray_reach_each_other_and_the_pods_of_helm_test_reach_the_orchestrator_only() -> None:
    edges = allowed(objects(VALUES))
    nodes = {"orchestrator", "head", *groups()}

    assert {(caller, server) for caller, server, _ in edges if caller != "test"} == {
        (caller, server) for caller in nodes for server in nodes
    }
    assert {edge for edge in edges if edge[0] == "test"} == {
        ("test", "orchestrator", "grpc"),
        ("test", "orchestrator", "metrics"),
    }


def test_only_the_operator_of_kuberay_reaches_the_head_from_outside_of_the_cluster_of_ray() -> None:
    rules = of_kind("NetworkPolicy", VALUES)["head"]["spec"]["ingress"]

    assert [[port["port"] for port in rule["ports"]] for rule in rules] == [[8265, 8000]]
    assert rules[0]["from"][0]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "kuberay-operator"
    }


def test_helm_test_asks_the_orchestrator_for_the_health_of_each_modality() -> None:
    arguments = of_kind("Pod", VALUES)["test-health"]["spec"]["containers"][0]["args"]

    assert [each.rpartition("/")[2] for each in arguments] == ["health", "audio", "image", "video"]
    assert {each.split("/")[2] for each in arguments} == {"demo-orchestrator-pods.ml.svc:9464"}


@needs_ray
@pytest.mark.filterwarnings("ignore")
def test_ray_accepts_the_configuration_of_the_applications() -> None:
    from ray.serve.schema import ServeDeploySchema

    config = ServeDeploySchema.model_validate(yaml.safe_load(service()["serveConfigV2"]))

    assert {each.name for each in config.applications} == groups().keys()
