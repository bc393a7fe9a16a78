"""Objects of the chart as a reader sees them, one for each mode.

To write the files: python -m tests.deploy.test_chart_golden
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

from tests.deploy.chart import Object, ci_values, of_kind

FOLDER = Path(__file__).parent / "golden"


def deployment(values: str, component: str) -> Object:
    """Return the Deployment of a component."""
    return of_kind("Deployment", ci_values(values))[component]


def ray_service() -> Object:
    """Return the RayService with the group and the application of one worker, because others have the same form."""
    service = of_kind("RayService", ci_values("ray"))["ray"]
    spec, cluster = service["spec"], service["spec"]["rayClusterConfig"]
    spec["serveConfigV2"] = yaml.safe_load(spec["serveConfigV2"])
    for place, key, name in (
        (cluster, "workerGroupSpecs", "groupName"),
        (spec["serveConfigV2"], "applications", "name"),
    ):
        place[key] = [each for each in place[key] if each[name] == "image"]
    return service


GOLDENS: Mapping[str, Callable[[], Object]] = {
    # Without TLS: gRPC probes, and no certificate.
    "cpu-nano-orchestrator": lambda: deployment("cpu-nano", "orchestrator"),
    # A decoder on a shared GPU.
    "single-gpu-image": lambda: deployment("single-gpu", "image"),
    # Nodes of its own, weights in a claim, TLS.
    "multi-node-llm": lambda: deployment("multi-node", "llm"),
    "ray-service": ray_service,
}


def rendered(name: str) -> str:
    """Return the text of a golden, as the chart renders it now."""
    return yaml.safe_dump(GOLDENS[name](), width=110)


@pytest.mark.parametrize("name", GOLDENS)
def test_an_object_is_the_committed_one(name: str) -> None:
    committed = (FOLDER / f"{name}.yaml").read_text()

    assert rendered(name) == committed, "if the change is intended, run python -m tests.deploy.test_chart_golden"


def test_there_is_no_other_file() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == GOLDENS.keys()


if __name__ == "__main__":
    for each in GOLDENS:
        (FOLDER / f"{each}.yaml").write_text(rendered(each))
