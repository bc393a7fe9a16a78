"""Tests of `motet cluster doctor` with a double of an API server and objects of the real engine of Helm."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

from services.cli.cluster.doctor.devices import devices_of
from tests.deploy.chart import CHART, CI_VALUES, ci_values, objects
from tests.services.cli.cluster.cluster_double import NAMESPACE
from tests.services.cli.cluster.prepared import VERSION, Prepared

NODES = "/api/v1/nodes"
Change = Callable[[Prepared], Any]


def row_of(output: str, result: str, check: str) -> str:
    rows = [line for line in output.splitlines() if line.split()[:2] == [result, check]]
    assert rows, output
    return " | ".join(rows)


def edited(cluster: Prepared, deployment: str, **spec: object) -> None:
    """Change the specification of a component's pods."""
    rendered = objects(ci_values("multi-node"))
    target = next(each for each in rendered if each["metadata"]["name"] == deployment and each["kind"] == "Deployment")
    target["spec"]["template"]["spec"] |= spec
    cluster.render(rendered)


async def test_a_cluster_that_fits_passes_every_check(prepared: Prepared) -> None:
    result = await prepared.doctor()

    assert result.exit_code == 0, result.output
    assert {line.split()[0] for line in result.stdout.splitlines()} == {"result", "pass"}
    assert VERSION in row_of(result.stdout, "pass", "cluster")
    assert "15 are wanted in all; on the nodes that fit, 20 of 20 nvidia.com/gpu are free" in row_of(
        result.stdout, "pass", "nvidia.com/gpu"
    )
    assert "1 nodes fit its 4 pods" in row_of(result.stdout, "pass", "demo-video")
    assert "nvidia exists" in row_of(result.stdout, "pass", "RuntimeClass")


async def test_helm_renders_the_chart_for_the_version_of_the_cluster(prepared: Prepared) -> None:
    for name in ("a.yaml", "b.yaml"):
        (prepared.folder / name).write_text("{}")
    files = [str(prepared.folder / name) for name in ("a.yaml", "b.yaml")]

    await prepared.doctor("--values", files[0], "--values", files[1], "--chart", "oci://x/motet", "--release", "demo")

    assert (prepared.folder / "arguments").read_text().split() == [
        *("template", "demo", "oci://x/motet", "--namespace", NAMESPACE, "--kube-version", VERSION),
        *("--values", files[0], "--values", files[1]),
    ]


PROGRAM = """
import json, sys, yaml, helm_python
from helm_python import _native
chart = helm_python.Chart.load(sys.argv[3])
values = yaml.safe_load(open(sys.argv[9]))
options = {"name": sys.argv[2], "namespace": sys.argv[5], "kube_version": sys.argv[7]}
try:
    texts = json.loads(_native.call_string("helm_render", chart._raw(), json.dumps(values), json.dumps(options)))
except Exception as error:
    sys.exit(f"Error: {error}")
print(*(text for name, text in texts.items() if name.endswith(".yaml")), sep="\\n---\\n")
"""
"""A program with the arguments of `helm template`, over the engine of Helm in Python."""


async def test_the_refusals_of_helm_are_findings(prepared: Prepared) -> None:
    (prepared.folder / "helm.py").write_text(PROGRAM)
    prepared.helm(f'exec {sys.executable} {prepared.folder}/helm.py "$@"')
    (prepared.folder / "wrong.yaml").write_text("workers: {image: {replica: 2}}")
    arguments = ("--chart", str(CHART), "--release", "demo", "--values")

    good = await prepared.doctor(*arguments, str(CHART / "ci" / "multi-node.yaml"))
    wrong = await prepared.doctor(*arguments, str(prepared.folder / "wrong.yaml"))
    prepared.double.objects["/version"] = {"gitVersion": "v1.33.1+k3s1"}
    old = await prepared.doctor(*arguments, str(CHART / "ci" / "dra.yaml"))

    assert good.exit_code == 0, good.output
    assert "replica" in row_of(wrong.stdout, "fail", "chart")
    assert "gpu.dra needs Kubernetes 1.34 or newer" in row_of(old.stdout, "fail", "chart")


@pytest.mark.parametrize("name", [name for name in CI_VALUES if name != "multi-node"])
async def test_objects_of_all_ci_values_can_be_checked(prepared: Prepared, name: str) -> None:
    prepared.prepare(name)

    findings = [json.loads(line) for line in (await prepared.doctor("--json")).stdout.splitlines()]

    assert len(findings) > 8
    assert all(finding["remedy"] for finding in findings if finding["result"] != "pass")


def without(path: str) -> Change:
    return lambda cluster: cluster.double.objects.pop(path)


def with_node(pool: str, **changes: Any) -> Change:
    def change(cluster: Prepared) -> None:
        cluster.double.objects[f"{NODES}/node-{pool}"]["spec"] |= changes

    return change


def with_gpus(pool: str, number: int, resource: str = "nvidia.com/gpu") -> Change:
    def change(cluster: Prepared) -> None:
        allocatable = cluster.double.objects[f"{NODES}/node-{pool}"]["status"]["allocatable"]
        allocatable.pop("nvidia.com/gpu")
        allocatable[resource] = str(number)

    return change


def with_level(level: str, **spec: object) -> Change:
    def change(cluster: Prepared) -> None:
        namespace = cluster.double.objects[f"/api/v1/namespaces/{NAMESPACE}"]
        namespace["metadata"]["labels"] = {"pod-security.kubernetes.io/enforce": level}
        if spec:
            edited(cluster, "demo-image", **spec)

    return change


FAILURES: dict[str, list[tuple[Change, str, str, str]]] = {
    "apis, rights and classes": [
        (without("/apis/cert-manager.io/v1"), "api", "does not serve Certificate", "install cert-manager, or set tls"),
        (without("/apis/monitoring.coreos.com/v1"), "api", "PodMonitor", "podMonitor.enabled to false"),
        (without("/apis/gateway.networking.k8s.io/v1"), "api", "GRPCRoute", "install the Gateway API"),
        (lambda c: c.denied.add("create deployments"), "rights", "create deployments.apps", "ask for a role"),
        (lambda c: c.denied.add("watch endpointslices"), "rights", "watch endpointslices", "ask for a role"),
        (lambda c: c.denied.add("update secrets"), "rights", "update secrets", "ask for a role"),
        (without("/apis/node.k8s.io/v1/runtimeclasses/nvidia"), "RuntimeClass", "nvidia does not", "GPU operator"),
        (
            without("/apis/scheduling.k8s.io/v1/priorityclasses/serving"),
            "PriorityClass",
            "serving",
            "priorityClassName",
        ),
        (without("/apis/cert-manager.io/v1/clusterissuers/company"), "ClusterIssuer", "company", "tls.certManager"),
        (
            without("/apis/storage.k8s.io/v1/storageclasses/shared"),
            "storage",
            "shared of the claim",
            "storageClassName",
        ),
        (with_level("restricted", securityContext={}), "namespace", "refuses runAsNonRoot of demo-image", "keep the"),
    ],
    "nodes": [
        (with_node("l4", unschedulable=True), "demo-audio", "nodes have pool=cpu, pool=h100", "kubectl label node"),
        (with_node("h100", taints=[{"key": "x", "effect": "NoExecute"}]), "demo-llm", "x:NoExecute", "tolerations"),
        (with_gpus("l40s", 8, "nvidia.com/mig-1g.10gb"), "demo-image", "none of the 1 nodes", "device plugin"),
        (lambda c: c.add_storage_class("shared", "ebs.csi.aws.com"), "storage", "one at a time", "network file system"),
        (with_level("restricted", volumes=[{"hostPath": {}}]), "namespace", "hostPath of demo-image", "keep the"),
    ],
    "devices": [(with_gpus("h100", 3), "demo-video", "devices for 3 of 4 pods", "lower replicas")],
}
"""Changes of a cluster that fits, and for each the check that fails, its state and its remedy."""


@pytest.mark.parametrize("changes", FAILURES.values(), ids=FAILURES)
async def test_each_missing_condition_fails_with_its_remedy(
    prepared: Prepared, changes: list[tuple[Change, str, str, str]]
) -> None:
    for change, *_ in changes:
        change(prepared)

    result = await prepared.doctor()

    assert result.exit_code == 1
    for _, check, state, remedy in changes:
        assert state in row_of(result.stdout, "fail", check)
        assert any(line.startswith(f"{check}: ") and remedy in line for line in result.stdout.splitlines()), remedy
    failures = {line.split()[1] for line in result.stdout.splitlines() if line.startswith("fail ")}
    assert failures - {"nvidia.com/gpu"} >= {check for _, check, *_ in changes}


async def test_components_that_share_too_few_devices_fail_together(prepared: Prepared) -> None:
    with_gpus("l4", 2)(prepared)
    with_gpus("h100", 4)(prepared)
    with_gpus("l40s", 3)(prepared)

    result = await prepared.doctor()

    assert result.exit_code == 1
    assert "15 are wanted in all; on the nodes that fit, 9 of 9 nvidia.com/gpu are free" in row_of(
        result.stdout, "fail", "nvidia.com/gpu"
    )
    assert "nodes fit its 4 pods" in row_of(result.stdout, "pass", "demo-video")


def using(number: int | str, **metadata: Any) -> dict[str, Any]:
    """Return a running pod on the node of the pool h100 that uses GPUs."""
    limits = {"nvidia.com/gpu": str(number), "cpu": "100m"}
    return {
        "metadata": {"name": "train", "namespace": "research"} | metadata,
        "spec": {"nodeName": "node-h100", "containers": [{"name": "main", "resources": {"limits": limits}}]},
        "status": {"phase": "Running"},
    }


def add_pods(cluster: Prepared, *pods: dict[str, Any]) -> None:
    for pod in pods:
        cluster.double.add(f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods", pod)


async def test_devices_that_other_pods_use_are_not_free(prepared: Prepared) -> None:
    names = [f"train-{number}" for number in range(5)]
    add_pods(prepared, *(using(1, name=name) for name in names))

    result = await prepared.doctor()

    assert result.exit_code == 1
    group = row_of(result.stdout, "fail", "demo-video")
    assert "its 1 nodes have devices for 3 of 4 pods: 3 of 8 nvidia.com/gpu are free" in group
    assert "15 of 20 nvidia.com/gpu are free" in row_of(result.stdout, "pass", "nvidia.com/gpu")
    assert "4 of 4 nvidia.com/gpu are free" in row_of(result.stdout, "pass", "demo-audio")
    users = "research/train-0, research/train-1, research/train-2 and 2 more"
    assert f"demo-video: add nodes, end pods that use them ({users}), or lower replicas" in result.stdout

    prepared.double.objects["/api/v1/namespaces/research/pods/train-5"] = using("1k", name="train-5")
    assert "0 of 8 nvidia.com/gpu are free" in row_of((await prepared.doctor()).stdout, "fail", "demo-llm")


async def test_pods_that_ended_have_no_node_or_belong_to_the_release_leave_their_devices_free(
    prepared: Prepared,
) -> None:
    pending, ended, failed, own = (using(8, name=name) for name in ("pending", "ended", "failed", "own"))
    del pending["spec"]["nodeName"]
    pending["status"] = {"phase": "Pending"}
    ended["status"] = {"phase": "Succeeded"}
    failed["status"] = {"phase": "Failed"}
    own["metadata"] |= {"namespace": NAMESPACE, "labels": {"app.kubernetes.io/instance": "demo"}}
    add_pods(prepared, pending, ended, failed, own)

    same = await prepared.doctor("--release", "demo")
    other = await prepared.doctor("--release", "second")

    assert "8 of 8 nvidia.com/gpu are free" in row_of(same.stdout, "pass", "demo-video")
    assert "0 of 8 nvidia.com/gpu are free" in row_of(other.stdout, "fail", "demo-video")
    assert f"end pods that use them ({NAMESPACE}/own)" in other.stdout


def test_a_pod_needs_the_devices_of_its_containers_or_the_most_of_its_init_containers() -> None:
    def container(number: int, **fields: str) -> dict[str, Any]:
        return {"resources": {"limits": {"nvidia.com/gpu": str(number), "memory": "1Gi"}}} | fields

    sidecar = container(1, restartPolicy="Always")
    assert devices_of({"containers": [container(1), container(2), {}]}) == {"nvidia.com/gpu": 3}
    assert devices_of({"initContainers": [container(4)], "containers": [container(2)]}) == {"nvidia.com/gpu": 4}
    assert devices_of({"initContainers": [sidecar, container(4)], "containers": [container(2)]})["nvidia.com/gpu"] == 5
    assert devices_of({"initContainers": [sidecar], "containers": [container(2)]}) == {"nvidia.com/gpu": 3}
    assert not devices_of({"containers": [{}]})


async def test_without_the_right_to_list_pods_all_devices_count_as_free_with_a_warning(prepared: Prepared) -> None:
    prepared.double.denied.add(("list", "", "pods"))
    add_pods(prepared, using(8))

    result = await prepared.doctor()

    assert result.exit_code == 0, result.output
    assert "those that other pods use count as free: pods. is forbidden" in row_of(result.stdout, "warn", "devices")
    assert "8 of 8 nvidia.com/gpu are free" in row_of(result.stdout, "pass", "demo-llm")


async def test_a_namespace_that_does_not_exist_is_a_warning(prepared: Prepared) -> None:
    without(f"/api/v1/namespaces/{NAMESPACE}")(prepared)

    result = await prepared.doctor()

    assert result.exit_code == 0
    assert "does not exist yet" in row_of(result.stdout, "warn", "namespace")
    assert "namespace: run `helm install` with --create-namespace, or create it" in result.stdout


async def test_a_claim_without_a_class_needs_a_default_class(prepared: Prepared) -> None:
    rendered = objects(ci_values("multi-node"))
    claim = next(each for each in rendered if each["kind"] == "PersistentVolumeClaim")
    del claim["spec"]["storageClassName"]
    prepared.render(rendered)

    missing = await prepared.doctor()
    prepared.add_storage_class("nfs", "nfs.csi.k8s.io", **{"storageclass.kubernetes.io/is-default-class": "true"})
    present = await prepared.doctor()

    assert "the cluster has no default" in row_of(missing.stdout, "fail", "storage")
    assert "gets a volume of nfs" in row_of(present.stdout, "pass", "storage")


async def test_dynamic_resource_allocation_needs_its_api_and_its_class(prepared: Prepared) -> None:
    prepared.prepare("dra")
    without("/apis/resource.k8s.io/v1/deviceclasses/gpu.nvidia.com")(prepared)
    without_class = await prepared.doctor()
    without("/apis/resource.k8s.io/v1")(prepared)
    without_api = await prepared.doctor()

    assert "gpu.nvidia.com does not exist" in row_of(without_class.stdout, "fail", "DeviceClass")
    assert "ResourceClaimTemplate of resource.k8s.io/v1" in row_of(without_api.stdout, "fail", "api")


async def test_a_part_without_permission_is_a_warning_and_the_other_checks_run(prepared: Prepared) -> None:
    prepared.double.denied.add(("list", "", "nodes"))

    result = await prepared.doctor()

    assert result.exit_code == 0
    assert "nodes. is forbidden" in row_of(result.stdout, "warn", "access")
    assert "gets a volume of shared" in row_of(result.stdout, "pass", "storage")


async def test_without_helm_the_error_says_to_install_it(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(prepared.folder / "empty"))

    result = await prepared.doctor()

    assert (result.exit_code, "helm cannot be run: No such file" in result.stderr) == (2, True)


@pytest.mark.parametrize("output", ["a: [", "5", "{}", "", "kind: Deployment"])
async def test_output_of_helm_that_is_no_manifest_is_a_finding(prepared: Prepared, output: str) -> None:
    prepared.helm(f"echo '{output}'")

    result = await prepared.doctor()

    assert result.exit_code == 1
    assert "helm printed no objects of Kubernetes" in row_of(result.stdout, "fail", "chart")


async def test_programs_get_one_object_for_each_finding(prepared: Prepared) -> None:
    without("/apis/node.k8s.io/v1/runtimeclasses/nvidia")(prepared)

    findings = [json.loads(line) for line in (await prepared.doctor("--json")).stdout.splitlines()]

    (failure,) = [finding for finding in findings if finding["result"] == "fail"]
    assert failure["check"] == "RuntimeClass"
    assert {*failure} == {"check", "result", "message", "remedy"}
