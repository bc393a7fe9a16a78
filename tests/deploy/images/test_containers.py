"""The images, built on Debian and run as the chart runs them, in the folder that TEST_IMAGES names."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any

import pytest

from services.ready_line import ReadyLine
from tests.deploy.chart import ci_values, of_kind, pod_spec
from tests.deploy.images.container import Container, Network
from tests.deploy.images.image_store import SHELLS, ImageStore
from tests.deploy.images.lock import Lock, normal

FOLDER = os.environ.get("TEST_IMAGES")
on_request = [
    pytest.mark.skipif(FOLDER is None, reason="TEST_IMAGES names no folder: `make images` builds and runs the images"),
    pytest.mark.timeout(3600),
]
pytestmark = on_request

VALUES: Mapping[str, Any] = ci_values("cpu-nano") | {"workers": {"audio": None, "video": None}}
"""The bundle nano on CPUs, with one decoder."""
WORKERS = ("encoder", "image", "llm")
BOTH = {"motet": "0.1.0", "motet-nano": "0.1.0"}
OWN = {"orchestrator": {"motet": "0.1.0"}, "worker": BOTH, "ray": BOTH}
LOCKS = {"orchestrator": "orchestrator", "worker": "worker-cpu", "ray": "ray-cpu"}
BASES = {"ray": "motet-build-base"}
"""The bases of the images that need a shell."""
SITE = "opt/motet/lib/python3.11/site-packages"
SBOM = "opt/motet/share/sbom/motet.cdx.json"
ANSWERED_WITHIN = 600.0
"""Maximum time of a request, in seconds."""


@pytest.fixture(scope="module")
def store() -> ImageStore:
    assert FOLDER is not None
    store = ImageStore(Path(FOLDER).resolve())
    store.prepare()
    for target in LOCKS:
        store.build(target, REVISION="a1b2c3", BASE=f"localhost/{BASES.get(target, 'motet-base')}")
    return store


@pytest.fixture(scope="module", params=sorted(LOCKS))
def image(request: pytest.FixtureRequest, store: ImageStore) -> Iterator[tuple[str, Path]]:
    """Return the name of each image, and its file system."""
    with store.mounted(request.param) as root:
        yield request.param, root


class Pods:
    """The containers of a release in one network, each with an address of its own."""

    def __init__(self, store: ImageStore, folder: Path, roots: Mapping[str, Path]) -> None:
        self._store, self._folder, self._roots = store, folder, roots
        names = ("orchestrator", *WORKERS)
        self.addresses = {name: f"127.0.0.{number}" for number, name in enumerate(names, 11)}
        hosts = {f"demo-{name}{end}.ml.svc": self.addresses[name] for name in names for end in ("", "-pods")}
        self.network = Network(f"motet-images-{os.getpid()}", hosts)

    def container(self, name: str, pod: Mapping[str, Any], **variables: str) -> Container:
        """Return the container of a pod with the image of the chart."""
        image = re.search(r"motet/(\w+):", pod["containers"][0]["image"])
        assert image is not None
        folder = self._folder / name
        folder.mkdir(exist_ok=True)
        config = self._store.config(image[1])
        return Container(
            f"motet-{name}-{os.getpid()}", pod, self._roots[image[1]], config, self.network, folder, variables
        )

    def component(self, name: str) -> Container:
        """Return the container of a component. All share one network, so each serves at an address of its own."""
        address = self.addresses[name]
        listen = {"MOTET_LISTEN": f"{address}:50050", "MOTET_METRICS": f"{address}:9464"}
        return self.container(name, pod_spec(name, VALUES), **listen)

    def test(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run a pod of `helm test` to its end."""
        pod = of_kind("Pod", VALUES)[f"test-{name}"]["spec"]
        return self.container(f"test-{name}", pod).run(ANSWERED_WITHIN)


def installed(root: Path) -> dict[str, str]:
    """Return the versions of the distributions in the environment of an image, by their normal names."""
    found = [Distribution.at(path) for path in (root / SITE).glob("*.dist-info")]
    return {normal(each.name): each.version for each in found}


def test_an_image_has_exactly_the_distributions_of_its_lock(image: tuple[str, Path]) -> None:
    name, root = image

    assert installed(root) == {**Lock.read(LOCKS[name]).versions, **OWN[name]}


def test_the_sbom_lists_every_installed_distribution_with_its_version(image: tuple[str, Path]) -> None:
    name, root = image
    sbom = json.loads((root / SBOM).read_text())
    components = [sbom["metadata"]["component"], *sbom["components"]]

    assert sbom["bomFormat"] == "CycloneDX"
    assert {normal(each["name"]): each["version"] for each in components} == installed(root)
    assert {normal(each["name"]) for each in sbom["components"] if "purl" in each} == set(
        Lock.read(LOCKS[name]).versions
    )
    assert {each["ref"] for each in sbom["dependencies"]} == {each["bom-ref"] for each in components}


def test_an_image_has_no_pip_and_only_an_image_for_kuberay_has_a_shell(image: tuple[str, Path]) -> None:
    name, root = image
    programs = {path.name for folder in ("usr/bin", "opt/motet/bin") for path in (root / folder).iterdir()}

    assert "motet" in programs
    assert not programs & {"pip", "pip3"}
    assert programs & {*SHELLS, "ray"} == ({*SHELLS, "ray"} if name == "ray" else set())


def test_an_image_has_the_user_and_the_labels(image: tuple[str, Path], store: ImageStore) -> None:
    name, _ = image
    config = store.config(name)
    labels = {key.removeprefix("org.opencontainers.image."): text for key, text in config["Labels"].items()}

    assert config["User"] == "10001:10001"
    assert labels["title"] == f"Motet {name}"
    assert (labels["version"], labels["revision"], labels["licenses"]) == ("0.1.0", "a1b2c3", "Apache-2.0")
    assert labels["base.name"] == f"localhost/{BASES.get(name, 'motet-base')}"


def test_containers_without_rights_answer_a_request_for_an_image(store: ImageStore, tmp_path: Path) -> None:
    with ExitStack() as stack:
        roots = {name: stack.enter_context(store.mounted(name)) for name in ("orchestrator", "worker")}
        pods = Pods(store, tmp_path, roots)
        stack.enter_context(pods.network.up())
        components = [pods.component(name) for name in (*WORKERS, "orchestrator")]
        processes = [stack.enter_context(each.started()) for each in components]
        for component, process in zip(components, processes, strict=True):
            assert process.stdout is not None
            line = process.stdout.readline()
            assert ReadyLine.read(line) is not None, (line, (component.folder / "stderr.log").read_text()[-2000:])

        for component in components:
            status = component.status()
            assert set(status["Uid"].split()) == set(status["Gid"].split()) == {"10001"}
            assert {status[f"Cap{each}"] for each in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0000000000000000"}
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
            assert component.writable_files() == {"/tmp"}

        health = pods.test("health")
        assert health.returncode == 0, (health.stdout, health.stderr)
        answer = pods.test("image")
        assert answer.returncode == 0, (answer.stdout, answer.stderr)
        assert re.search(r"\S+\.png", answer.stdout)
