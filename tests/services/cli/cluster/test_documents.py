"""The examples and the documented rights of `motet cluster`, compared with a double of an API server."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest

from services.cli import commands
from tests.deploy.chart import ci_values, objects
from tests.services.cli.cluster.cluster_double import NAMESPACE, set_ready
from tests.services.cli.cluster.installed import Installed
from tests.services.cli.cluster.prepared import Prepared
from tests.services.cli.cluster.test_doctor import add_pods, using

PAGE = Path(__file__).parents[4] / "docs" / "kubernetes.md"
RIGHTS = re.compile(r"`([a-z]+) ([a-zA-Z/]+)(?:\.([a-z0-9.-]+))?`")
EXAMPLES = sorted(
    {
        example
        for path, examples in tomllib.loads(Path(commands.__file__).with_name("examples.toml").read_text()).items()
        for example in examples
        if path.startswith("cluster")
    }
)
RUNS = {
    "status": (("status",),),
    "scale": (("scale", "image", "2", "--wait"),),
    "drain": (("drain", "node-c"),),
}


def documented(command: str) -> set[tuple[str, str, str]]:
    """Return the verb, the group and the resource of each right that the page lists for a command."""
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| rights of `{command}`"))
    return {(verb, group, resource) for verb, resource, group in RIGHTS.findall(row.split("|")[2])}


@pytest.mark.parametrize("example", [example for example in EXAMPLES if "doctor" not in example])
async def test_an_example_works(installed: Installed, example: str) -> None:
    installed.add_nodes()
    installed.double.after_patch = lambda path, patched: set_ready(patched) if "deployments" in path else None

    result = await installed.run(*shlex.split(example)[2:])

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("example", [example for example in EXAMPLES if "doctor" in example])
async def test_an_example_of_the_doctor_works(
    prepared: Prepared, example: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(prepared.folder)
    (prepared.folder / "values.yaml").write_text("{}")

    result = await prepared.doctor(*shlex.split(example)[3:])

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", RUNS)
async def test_the_documented_rights_are_exactly_the_calls(installed: Installed, command: str) -> None:
    installed.add_nodes()
    installed.start_pods_slowly("image")

    for arguments in RUNS[command]:
        result = await installed.run(*arguments)
        assert result.exit_code == 0, result.output

    assert documented(command) == set(installed.double.calls)


async def test_the_documented_rights_are_exactly_the_calls_of_the_doctor(prepared: Prepared) -> None:
    rendered = [*objects(ci_values("dra")), *objects(ci_values("air-gapped")), *objects(ci_values("multi-node"))]
    certificate = next(each for each in rendered if each["kind"] == "Certificate")
    certificate["spec"]["issuerRef"] = {"name": "other"}
    pod = next(each for each in rendered if each["kind"] == "Deployment")["spec"]["template"]["spec"]
    pod["resourceClaims"] = [{"name": "gpu", "resourceClaimName": "shared"}]
    pod["volumes"].append({"name": "x", "persistentVolumeClaim": {"claimName": "other"}})
    prepared.render(rendered)

    await prepared.doctor()

    assert documented("doctor") == set(prepared.double.calls)


SAMPLE: dict[str, Any] = {
    "defaults": {"gpu": {"count": 1}, "runtimeClassName": "nvidia"},
    "workers": {
        "encoder": {"gpu": {"count": 0}, "runtimeClassName": ""},
        "llm": {"replicas": 2, "nodeSelector": {"pool": "h100"}},
        "image": {"replicas": 3, "nodeSelector": {"pool": "l40s"}},
        "audio": None,
        "video": None,
    },
    "weights": ci_values("multi-node")["weights"],
}
"""The values of the page's example of the doctor."""


async def test_the_example_of_the_doctor_on_the_page_is_its_output(
    prepared: Prepared, monkeypatch: pytest.MonkeyPatch
) -> None:
    double = prepared.double
    prepared.render(objects(SAMPLE))
    del double.objects["/apis/cert-manager.io/v1"]
    del double.objects["/apis/node.k8s.io/v1/runtimeclasses/nvidia"]
    double.objects["/api/v1/nodes/node-h100"]["status"]["allocatable"]["nvidia.com/gpu"] = "4"
    for node in ("h100", "l40s"):
        del double.objects[f"/api/v1/nodes/node-{node}"]["spec"]["taints"]
    add_pods(prepared, using(2, name="train-0"), using(1, name="train-1"))
    double.objects[f"/api/v1/namespaces/{NAMESPACE}"]["metadata"]["labels"] = {
        "pod-security.kubernetes.io/enforce": "privileged"
    }
    monkeypatch.chdir(prepared.folder)
    (prepared.folder / "values.yaml").write_text("{}")

    lines = (await prepared.doctor("--values", "values.yaml")).stdout.splitlines()

    page = PAGE.read_text().partition("$ motet cluster doctor --values values.yaml\n")[2].partition("```")[0]
    shown = [line for line in page.splitlines() if line != "..."]
    assert [line for line in lines if line in shown] == shown
