"""Tests of `motet cluster doctor` with a double of an API server and objects of the real engine of Helm."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import pytest

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
    assert "15 are wanted in all, and 20 are allocatable" in row_of(result.stdout, "pass", "nvidia.com/gpu")
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
    assert "15 are wanted in all, and 9 are allocatable" in row_of(result.stdout, "fail", "nvidia.com/gpu")
    assert "nodes fit its 4 pods" in row_of(result.stdout, "pass", "demo-video")


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
