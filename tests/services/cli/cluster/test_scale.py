"""Tests of `motet cluster scale` with a double of an API server."""

from __future__ import annotations

import pytest

from tests.services.cli.cluster.cluster_double import NAMESPACE, set_ready
from tests.services.cli.cluster.installed import Installed
from tests.services.orchestrator.discovery.kubernetes_double import Json

HPA = f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers"
KEDA = f"/apis/keda.sh/v1alpha1/namespaces/{NAMESPACE}/scaledobjects"


def scaler(name: str, target: str, **kind: str) -> Json:
    return {"metadata": {"name": name}, "spec": {"scaleTargetRef": {"name": target} | kind}}


def patches(installed: Installed) -> list[Json]:
    return [body for body in installed.double.bodies if "spec" in body]


@pytest.mark.parametrize(("name", "component"), [("llm", "llm"), ("image", "image"), ("orchestrator", "orchestrator")])
async def test_a_component_gets_the_number_of_pods(installed: Installed, name: str, component: str) -> None:
    result = await installed.run("scale", name, "5")

    assert result.exit_code == 0, result.stderr
    assert patches(installed) == [{"spec": {"replicas": 5}}]
    assert installed.deployment(component)["spec"]["replicas"] == 5
    assert ("patch", "apps", "deployments/scale") in installed.double.calls
    key = "orchestrator.replicas" if name == "orchestrator" else f"workers.{name}.replicas"
    assert key in result.stderr, "the next upgrade would set the number of the values"


async def test_a_decoder_is_found_by_its_modality(installed: Installed) -> None:
    deployment = installed.deployment("image")
    deployment["metadata"]["labels"]["app.kubernetes.io/component"] = "image-l40s"

    assert (await installed.run("scale", "image", "2")).exit_code == 0
    assert deployment["spec"]["replicas"] == 2


async def test_one_of_several_decoders_of_a_modality_has_to_be_named(installed: Installed) -> None:
    for component, name in (("image", "image-l40s"), ("audio", "image-l4")):
        installed.deployment(component)["metadata"]["labels"]["app.kubernetes.io/component"] = name
    container = installed.deployment("audio")["spec"]["template"]["spec"]["containers"][0]
    next(each for each in container["env"] if each["name"] == "MOTET_MODALITY")["value"] = "image"

    result = await installed.run("scale", "image", "2")

    assert (result.exit_code, "name one of image-l4, image-l40s" in result.stderr) == (2, True)
    assert patches(installed) == []


@pytest.mark.parametrize("name", ["imag", "images", "IMAGE"])
async def test_an_unknown_component_is_refused_with_the_nearest_name(installed: Installed, name: str) -> None:
    result = await installed.run("scale", name, "2")

    assert (result.exit_code, patches(installed)) == (2, [])
    assert "the nearest name is image" in result.stderr or name == "IMAGE"
    assert "it has animation, audio, encoder" in result.stderr


@pytest.mark.parametrize(
    ("path", "object", "words"),
    [
        (HPA, scaler("h", "demo-image", kind="Deployment"), "HorizontalPodAutoscaler h"),
        (KEDA, scaler("k", "demo-image"), "ScaledObject k"),
    ],
    ids=["HPA", "KEDA"],
)
async def test_a_component_of_an_autoscaler_is_refused_unless_forced(
    installed: Installed, path: str, object: Json, words: str
) -> None:
    installed.double.add(path, object, scaler("other", "demo-image", kind="StatefulSet"))

    result = await installed.run("scale", "image", "2")

    assert (result.exit_code, patches(installed)) == (2, [])
    assert f"image is scaled by {words}, which would change the number back" in result.stderr
    assert (await installed.run("scale", "llm", "2")).exit_code == 0
    assert (await installed.run("scale", "image", "2", "--force")).exit_code == 0


async def test_an_orchestrator_is_not_scaled_to_zero_unless_forced(installed: Installed) -> None:
    result = await installed.run("scale", "orchestrator", "0")

    assert (result.exit_code, "keep at least 1 pod" in result.stderr, patches(installed)) == (2, True, [])
    assert (await installed.run("scale", "orchestrator", "0", "--force")).exit_code == 0
    assert (await installed.run("scale", "image", "0")).exit_code == 0


async def test_waiting_shows_the_progress_and_ends_when_the_pods_are_ready(installed: Installed) -> None:
    installed.start_pods_slowly("image")

    result = await installed.run("scale", "image", "4", "--wait")

    assert result.exit_code == 0, result.stderr
    lines = [line for line in result.stderr.splitlines() if "pods are ready" in line]
    assert lines == ["motet: image: 1 of 4 pods are ready", "motet: image: 4 of 4 pods are ready"]


async def test_waiting_has_a_limit_and_names_the_cause(installed: Installed) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no GPU is free"}
    installed.add_pod("image", "demo-image-3", node="", phase="Pending", conditions=[condition])
    installed.double.after_patch = lambda path, patched: set_ready(patched, 3)

    result = await installed.run("scale", "image", "4", "--wait", "--timeout", "1s")

    assert result.exit_code == 5
    assert result.stderr.count("Unschedulable: no GPU is free") == 1, "each line is shown once"
    assert "3 of 4 pods are ready, after 1 seconds: the number of pods stays" in result.stderr


@pytest.mark.parametrize("arguments", [("image", "-1"), ("image", "10001"), ("image", "x"), ("image",)])
async def test_a_wrong_number_changes_nothing(installed: Installed, arguments: tuple[str, ...]) -> None:
    result = await installed.run("scale", *arguments)

    assert (result.exit_code, installed.double.calls) == (2, [])
