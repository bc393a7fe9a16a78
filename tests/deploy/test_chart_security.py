"""The pods of the chart fit the Pod Security Standard "restricted", and have no rights that they do not need."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.deploy.chart import CI_VALUES, Object, ci_values, objects, of_kind, pod_spec, pods

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}


def containers(spec: Object) -> Iterator[Object]:
    """Yield all containers of a pod."""
    yield from spec.get("initContainers", [])
    yield from spec["containers"]


def violations(spec: Object) -> Iterator[str]:
    """Yield the rules of the standard "restricted" that a pod violates. An OCI image volume is read-only data."""
    yield from (key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key))
    for volume in spec.get("volumes", []):
        yield from (f"volume {kind}" for kind in volume.keys() - {"name", "image"} - VOLUMES)
    pod = spec.get("securityContext", {})
    for container in containers(spec):
        own = container.get("securityContext", {})
        both = {**pod, **own}
        if both.get("runAsNonRoot") is not True or both.get("runAsUser") == 0:
            yield "runAsNonRoot"
        if both.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
            yield "seccompProfile"
        if own.get("allowPrivilegeEscalation") is not False or own.get("privileged"):
            yield "allowPrivilegeEscalation"
        if own.get("capabilities", {}).get("drop") != ["ALL"]:
            yield "capabilities.drop"
        if set(own.get("capabilities", {}).get("add", [])) - {"NET_BIND_SERVICE"}:
            yield "capabilities.add"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield "hostPort"
        if own.get("procMount", "Default") != "Default":
            yield "procMount"


@pytest.mark.parametrize("name", CI_VALUES)
def test_every_pod_fits_the_standard_restricted(name: str) -> None:
    found = {pod: list(violations(spec["spec"])) for pod, spec in pods(objects(ci_values(name)))}

    assert {pod: rules for pod, rules in found.items() if rules} == {}
    assert len(found) >= 7


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"hostNetwork": True}, "hostNetwork"),
        ({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}, "volume hostPath"),
        ({"securityContext": {"runAsUser": 0, "runAsNonRoot": True}}, "runAsNonRoot"),
        ({"securityContext": {"runAsNonRoot": True}}, "seccompProfile"),
    ],
)
def test_a_violation_is_found(change: Object, rule: str) -> None:
    assert rule in list(violations({**pod_spec("image"), **change}))


@pytest.mark.parametrize("name", CI_VALUES)
def test_only_an_orchestrator_that_watches_the_api_server_has_a_token(name: str) -> None:
    rendered = objects(ci_values(name))
    tokens = {pod for pod, spec in pods(rendered) if spec["spec"].get("automountServiceAccountToken", True)}

    watches = ci_values(name).get("discovery") == "kubernetes"
    # KubeRay makes the account of the head, where the autoscaler of Ray runs.
    others = {"demo-ray-head"} if name == "ray" else set()
    assert tokens == ({"demo-orchestrator"} if watches else set()) | others
    accounts = {each["metadata"]["name"]: each for each in rendered if each["kind"] == "ServiceAccount"}
    assert all(not each["automountServiceAccountToken"] for each in accounts.values())
    named = {pod["spec"]["serviceAccountName"] for pod_name, pod in pods(rendered) if pod_name not in others}
    assert named == accounts.keys()


@pytest.mark.parametrize("name", CI_VALUES)
def test_components_do_not_share_a_service_account(name: str) -> None:
    deployments = of_kind("Deployment", ci_values(name)).values()
    names = [each["spec"]["template"]["spec"]["serviceAccountName"] for each in deployments]

    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", CI_VALUES)
def test_rights_in_the_cluster_are_those_of_the_orchestrators_discovery_only(name: str) -> None:
    rendered = objects(ci_values(name))
    rights = {each["kind"] for each in rendered if each["apiVersion"].startswith("rbac.")}

    watches = ci_values(name).get("discovery") == "kubernetes"
    assert rights == ({"Role", "RoleBinding"} if watches else set())


def test_the_orchestrators_role_has_the_rights_that_its_calls_need() -> None:
    values = ci_values("multi-node")
    (role,) = of_kind("Role", values).values()
    (binding,) = of_kind("RoleBinding", values).values()

    (rule,) = role["rules"]
    assert rule == {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert [each["name"] for each in binding["subjects"]] == [pod_spec("orchestrator", values)["serviceAccountName"]]


@pytest.mark.parametrize("name", CI_VALUES)
def test_every_container_has_a_read_only_root_and_limits(name: str) -> None:
    for pod, spec in pods(objects(ci_values(name))):
        for container in containers(spec["spec"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True, pod
            assert "memory" in container["resources"]["limits"], pod


@pytest.mark.parametrize("name", CI_VALUES)
def test_no_pod_gets_the_variables_of_services(name: str) -> None:
    assert all(pod["spec"]["enableServiceLinks"] is False for _, pod in pods(objects(ci_values(name))))


def test_a_services_process_can_write_to_its_temporary_folder_and_home_only() -> None:
    for name in of_kind("Deployment"):
        container = pod_spec(name)["containers"][0]
        writable = [each["mountPath"] for each in container["volumeMounts"] if not each.get("readOnly")]
        assert writable == ["/tmp"]
        assert {"name": "HOME", "value": "/tmp"} in container["env"]


def test_private_keys_can_be_read_by_the_group_of_the_process_only() -> None:
    for name in of_kind("Deployment", ci_values("air-gapped")):
        secrets = [each["secret"] for each in pod_spec(name, ci_values("air-gapped"))["volumes"] if "secret" in each]
        assert secrets
        assert all(each["defaultMode"] == 0o440 for each in secrets)


def test_images_have_no_tag_that_moves() -> None:
    for name in CI_VALUES:
        for pod, spec in pods(objects(ci_values(name))):
            for container in containers(spec["spec"]):
                assert not container["image"].endswith(":latest"), pod
                assert ":" in container["image"], pod
