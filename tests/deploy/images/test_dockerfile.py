"""The Dockerfile of the images, and the packages of the orchestrator's image. No image is built here."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.chart import CHART, ROOT, ci_values, of_kind
from tests.deploy.images.lock import IMAGES, Lock, normal
from tests.services.command import CLEAN, TIMEOUT

NANO = ROOT / "bundles" / "nano" / "bundle.yaml"

# Refuses the import of the modules in a list, as if they were not installed.
BLOCKER = """
import json, sys
class Absent:
    names = set(json.loads(sys.argv.pop(1)))
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
"""


def _container_of(deployment: Mapping[str, Any]) -> dict[str, Any]:
    return dict(deployment["spec"]["template"]["spec"]["containers"][0])


def stages() -> Mapping[str, str]:
    """Return the instructions of each stage of the Dockerfile by its name."""
    text = (IMAGES / "Dockerfile").read_text()
    found = re.split(r"^FROM (\S+) AS (\S+)$", text, flags=re.MULTILINE)
    return {
        name: f"FROM {base}\n{body}" for base, name, body in zip(found[1::3], found[2::3], found[3::3], strict=True)
    }


def absent_modules() -> list[str]:
    """Return the top-level modules of the installed distributions that are not in the orchestrator's image."""
    present = {"motet", *Lock.read("orchestrator").versions}
    modules = packages_distributions()
    return [module for module, owners in modules.items() if not {normal(owner) for owner in owners} & present]


def serve(kind: str, bundle: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Start a service with the packages of the orchestrator's image, and stop it when it is ready."""
    program = f"{BLOCKER}\nfrom services.cli.app import app\napp()"
    command = [sys.executable, "-c", program, json.dumps(absent_modules()), "serve", kind]
    command += ["--listen", "127.0.0.1:0", "--bundle", str(bundle), *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=CLEAN) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.terminate()
        output, errors = process.communicate(timeout=TIMEOUT)
        return subprocess.CompletedProcess(command, process.returncode, line + output, errors)


def test_hadolint_has_no_complaint() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, IMAGES / "Dockerfile"], capture_output=True, text=True)

    assert (done.returncode, done.stdout) == (0, "")


def test_there_is_a_target_for_each_kind_of_service() -> None:
    for deployment in of_kind("Deployment").values():
        command = deployment["spec"]["template"]["spec"]["containers"][0]["command"]
        assert f"CMD {json.dumps(command)}" in stages()[command[-1]]


def test_each_repository_of_the_chart_is_a_target() -> None:
    names = {spec["image"] for spec in map(_container_of, of_kind("Deployment").values())}
    names |= {spec["image"] for spec in map(_container_of, of_kind("Deployment", ci_values("ray")).values())}

    assert {name.removeprefix("motet/").partition(":")[0] for name in names} <= stages().keys()


def test_the_version_of_ray_in_the_image_is_that_of_the_chart() -> None:
    service = of_kind("RayService", ci_values("ray"))["ray"]["spec"]

    for device in ("cpu", "cuda"):
        assert Lock.read(f"ray-{device}").versions["ray"] == service["rayClusterConfig"]["rayVersion"]


def test_images_run_as_the_user_of_the_chart_and_end_with_a_user() -> None:
    user = of_kind("Deployment")["image"]["spec"]["template"]["spec"]["securityContext"]["runAsUser"]

    assert f"USER {user}:{user}" in stages()["runtime"]
    for name in ("orchestrator", "worker", "ray"):
        assert stages()[name].startswith("FROM runtime\n")
        assert "USER" not in stages()[name]


def test_the_version_of_the_images_is_that_of_the_chart() -> None:
    version = re.search(r"^appVersion: (\S+)$", (CHART / "Chart.yaml").read_text(), re.MULTILINE)

    assert version is not None
    assert f"ARG VERSION={version[1]}\n" in stages()["runtime"]
    assert f'version = "{version[1]}"' in (ROOT / "pyproject.toml").read_text()


def test_every_copied_path_is_in_the_context_of_the_build() -> None:
    ignored = (IMAGES / "Dockerfile.dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (IMAGES / "Dockerfile").read_text(), re.MULTILINE)

    for path in {path.replace("${DEVICE}", "cuda") for paths in copied for path in paths.split()}:
        assert (ROOT / path).exists(), path
        assert any(f"{path}/".startswith(f"{each[1:]}/") for each in ignored if each[0] == "!"), path


def test_an_orchestrator_serves_with_the_packages_and_the_manifest_of_its_image(tmp_path: Path) -> None:
    (tmp_path / "bundle.yaml").write_bytes(NANO.read_bytes())

    done = serve("orchestrator", tmp_path, "--decoder", "image=127.0.0.1:1")

    assert "motet: orchestrator is serving on 127.0.0.1:" in done.stdout, done.stderr
    assert done.returncode == 0


def test_a_worker_does_not_serve_with_the_packages_of_the_orchestrators_image() -> None:
    done = serve("encoder", NANO.parent, "--device", "cpu")

    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'motet[models]'" in done.stderr


@pytest.mark.parametrize("stage", ["build-orchestrator", "build-worker", "build-ray"])
def test_the_sbom_of_an_image_is_made_after_the_last_installation(stage: str) -> None:
    *_, last, rest = stages()[stage].split("pip install")

    assert "cyclonedx-py environment" in rest
    assert "/opt/motet/bin/python3" in rest
    assert "cyclonedx" not in last
