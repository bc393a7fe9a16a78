"""Install, upgrade, roll back, test and uninstall by the real engine of Helm, against a double of the API server.

Each step has a connection of its own, as each command of Helm has. Releases are in the Secrets of the double.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import helm_python
import pytest
from helm_python import HelmError

from tests.deploy.chart import CHART, CI_VALUES, Object, ci_values, objects
from tests.deploy.lifecycle.api_double import NAMESPACE, ApiDouble, Key, serving
from tests.deploy.object_errors import errors

TIMEOUT = 50
"""Maximum time of a step, in seconds."""
INSTALLED = ("air-gapped", "autoscaling", "cpu-nano", "dra", "multi-node", "ray")
"""The files of values that are installed. The objects of the others are of the same kinds."""
SERVER_FIELDS = {"uid", "resourceVersion", "generation"}


@cache
def known_errors(text: str) -> tuple[str, ...]:
    """Return the errors of an object, given as JSON. Most objects are sent several times."""
    return tuple(errors(json.loads(text)))


@pytest.fixture
def api() -> Iterator[ApiDouble]:
    """Return a running double that refuses what does not fit the schemas."""
    with serving(ApiDouble(lambda each: list(known_errors(json.dumps(each))))) as double:
        yield double
    assert double.unknown == []


def helm(api: ApiDouble) -> helm_python.Config:
    """Return a connection to the double."""
    return helm_python.Config(kube_apiserver=api.url, namespace=NAMESPACE, storage_driver="secret")


def install(api: ApiDouble, values: Object, timeout: int = TIMEOUT) -> None:
    with helm(api) as config:
        config.install(str(CHART), "demo", values, wait="watcher", timeout=timeout)


@cache
def first_install(name: str) -> str:
    """Install a file of values in a cluster of its own, and return the cluster's objects as JSON."""
    with serving(ApiDouble(errors)) as api:
        install(api, ci_values(name))
    return json.dumps([[*key, each] for key, each in api.objects.items()])


def install_copy(api: ApiDouble, name: str) -> None:
    """Bring the double into the state after the installation of a file of values.

    Each file is installed once. Helm's record of the release is one of the objects.
    """
    api.objects = {(kind, key): each for kind, key, each in json.loads(first_install(name))}
    api.created = [*api.objects]


def upgrade(api: ApiDouble, values: Object, chart: Path = CHART) -> None:
    with helm(api) as config:
        config.upgrade(str(chart), "demo", values, wait="watcher", timeout=TIMEOUT)


def rollback(api: ApiDouble, revision: int) -> None:
    with helm(api) as config:
        config.rollback("demo", version=revision, wait="watcher", timeout=TIMEOUT)


def uninstall(api: ApiDouble) -> None:
    with helm(api) as config:
        config.uninstall("demo", wait="watcher", timeout=TIMEOUT)


def states(api: ApiDouble) -> list[str]:
    """Return the state of each revision, the oldest first."""
    with helm(api) as config:
        return [each["status"] for each in config.history("demo")]


def stored(api: ApiDouble) -> dict[Key, Object]:
    """Return the objects of the release as Helm sent them, without its own records."""
    return {key: sent(each) for key, each in api.objects.items() if not key[1].startswith("sh.helm.release.")}


def sent(each: Object) -> Object:
    """Return an object without the fields that the server and Helm add."""
    metadata = {key: value for key, value in each["metadata"].items() if key not in SERVER_FIELDS}
    notes = metadata.pop("annotations", {})
    notes = {key: value for key, value in notes.items() if not key.startswith("meta.helm.sh/")}
    return {key: value for key, value in each.items() if key != "status"} | {
        "metadata": metadata | ({"annotations": notes} if notes else {})
    }


def expected(values: Object) -> dict[Key, Object]:
    """Return the rendered objects that are no hooks."""
    rendered = [each for each in objects(values) if "helm.sh/hook" not in each["metadata"].get("annotations", {})]
    return {(each["kind"], each["metadata"]["name"]): each for each in rendered}


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """Return the chart with a newer version of the application and of itself."""
    chart = Path(shutil.copytree(CHART, tmp_path / "motet"))
    text = (chart / "Chart.yaml").read_text()
    text, count = re.subn(r"^(version|appVersion): .*$", r"\1: 9.0.0", text, flags=re.MULTILINE)
    assert count == 2
    (chart / "Chart.yaml").write_text(text)
    return chart


def test_the_files_of_values_that_are_installed_have_all_kinds_of_objects() -> None:
    kinds = {name: {each["kind"] for each in objects(ci_values(name))} for name in CI_VALUES}

    assert set().union(*kinds.values()) == set().union(*(kinds[name] for name in INSTALLED))


@pytest.mark.parametrize("name", INSTALLED)
def test_a_release_is_installed_upgraded_rolled_back_and_uninstalled(api: ApiDouble, newer: Path, name: str) -> None:
    install_copy(api, name)
    assert stored(api) == expected(ci_values(name))

    upgrade(api, ci_values(name), newer)
    images = [str(each["spec"]) for (kind, _), each in api.objects.items() if kind == "Deployment"]
    assert images
    assert all(":9.0.0" in each or "@sha256:" in each for each in images)
    assert {each["metadata"]["labels"]["helm.sh/chart"] for each in stored(api).values()} == {"motet-9.0.0"}

    rollback(api, 1)
    assert stored(api) == expected(ci_values(name))
    assert states(api) == ["superseded", "superseded", "deployed"]

    uninstall(api)
    kept = {key for key, each in api.objects.items() if "resource-policy" in str(each["metadata"])}
    assert api.objects.keys() == kept
    assert kept == ({("PersistentVolumeClaim", "demo-weights")} if name == "multi-node" else set())


def test_an_upgrade_adds_changes_and_removes_what_the_values_say(api: ApiDouble) -> None:
    install_copy(api, "cpu-nano")
    values = ci_values("cpu-nano") | {"workers": {"video": None, "sketch": {"kind": "decoder", "modality": "sketch"}}}

    upgrade(api, values)

    assert stored(api) == expected(values)
    assert ("Deployment", "demo-video") not in api.objects
    assert ("Deployment", "demo-sketch") in api.objects


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("multi-node", ("weights", "hydrated", "fetch", "args"), ["copy", "store:models/other", "/weights"]),
        ("dra", ("workers", "image", "gpu", "dra", "deviceClassName"), "gpu.nvidia.com"),
        ("cpu-nano", ("orchestrator", "service"), {"port": 443}),
    ],
)
def test_values_that_are_in_immutable_fields_can_be_changed(
    api: ApiDouble, name: str, path: tuple[str, ...], value: Any
) -> None:
    install_copy(api, name)
    values = ci_values(name)
    place = values
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = value

    upgrade(api, values)

    assert stored(api) == expected(values)


def test_helm_test_runs_the_pods_of_all_components_first_and_then_a_request_for_each_modality(api: ApiDouble) -> None:
    install_copy(api, "cpu-nano")
    assert not [name for kind, name in api.created if kind == "Pod"]

    with helm(api) as config:
        logs = config.test("demo", timeout=TIMEOUT, logs=True)["logs"]

    pods = [name for kind, name in api.created if kind == "Pod"]
    assert pods == [f"demo-test-{name}" for name in ("health", "animation", "audio", "film", "image", "video")]
    assert all(f"log of {name}" in logs for name in pods)
    assert stored(api) == expected(ci_values("cpu-nano"))  # The pods are deleted.


def test_a_failed_helm_test_is_reported_and_its_pod_is_replaced_by_the_next_test(api: ApiDouble) -> None:
    install_copy(api, "cpu-nano")
    api.failing.add("demo-test-audio")

    with helm(api) as config, pytest.raises(HelmError, match="demo-test-audio"):
        config.test("demo", timeout=TIMEOUT)

    assert ("Pod", "demo-test-image") not in api.created
    api.failing.clear()
    with helm(api) as config:
        config.test("demo", timeout=TIMEOUT)


def test_a_release_that_does_not_become_available_is_reported_as_failed_and_can_be_mended(api: ApiDouble) -> None:
    api.unavailable.add("demo-llm")

    with pytest.raises(HelmError, match="demo-llm"):
        install(api, ci_values("cpu-nano"), timeout=1)

    assert states(api) == ["failed"]
    api.unavailable.clear()
    upgrade(api, ci_values("cpu-nano"))
    assert states(api) == ["superseded", "deployed"]


def test_an_object_that_the_server_refuses_ends_the_upgrade_and_a_rollback_restores_the_release(api: ApiDouble) -> None:
    install_copy(api, "cpu-nano")
    wrong = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "demo-more"}, "date": {"a": "b"}}
    values = ci_values("cpu-nano") | {"extraObjects": [wrong], "workers": {"llm": {"replicas": 2}}}

    with pytest.raises(HelmError, match="'date' was unexpected"):
        upgrade(api, values)
    rollback(api, 1)

    assert stored(api) == expected(ci_values("cpu-nano"))


def test_the_double_refuses_to_change_an_immutable_field(api: ApiDouble) -> None:
    install_copy(api, "cpu-nano")
    deployment = api.objects["Deployment", "demo-llm"]
    deployment["spec"]["selector"] = {"matchLabels": {"app": "other"}}

    with pytest.raises(HelmError, match="spec.selector: field is immutable"):
        upgrade(api, ci_values("cpu-nano") | {"workers": {"llm": {"replicas": 2}}})
