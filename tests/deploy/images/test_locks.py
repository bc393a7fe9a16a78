"""The locks that `make lock` writes."""

from __future__ import annotations

import re
from importlib.util import find_spec

import pytest

from tests.deploy.chart import ROOT
from tests.deploy.images.lock import IMAGES, Lock, distributions, extras_of, lock_names, normal

OWN = {"motet", "motet-nano"}
"""The distributions of the repository."""
TOOLS = {"hatchling", "cyclonedx-bom"}
"""The tools of the build."""
IMAGES_LOCKS = ("orchestrator", "worker-cpu", "worker-cuda", "ray-cpu", "ray-cuda")
"""The locks of the distributions that images have."""
CUDA = re.compile(r"(?!nvidia-ml-py$)(nvidia|cuda)-.*|triton")
"""The names of the distributions that torch needs for CUDA only."""


def constraints() -> dict[str, str]:
    """Return the versions of constraints.txt by the normal names of the distributions."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    return {normal(name): version for name, version in (line.split("==") for line in lines)}


def without_cuda(names: set[str]) -> set[str]:
    """Return the names without those that only CUDA needs."""
    return {name for name in names if not CUDA.fullmatch(name)}


def test_the_dockerfile_and_the_makefile_name_exactly_the_locks() -> None:
    dockerfile = (IMAGES / "Dockerfile").read_text().replace("${DEVICE}", "cuda")
    written = re.findall(r"\$\(LOCKS\)/(\S+)\.txt", (ROOT / "Makefile").read_text())

    assert set(written) == lock_names() == {"build", *IMAGES_LOCKS}
    assert set(re.findall(r"locks/(\S+)\.txt", dockerfile)) == lock_names() - {"worker-cpu", "ray-cpu"}


def test_the_dockerfile_installs_only_locked_distributions_and_its_own_wheels() -> None:
    dockerfile = (IMAGES / "Dockerfile").read_text().replace("\\\n", "")
    installs = [each for each in re.split(r"\n|&&", dockerfile) if "pip install" in each]

    assert len(installs) == 6
    for each in installs:
        assert re.search(r"--require-hashes --requirement \"?/locks/", each) or "--no-index --no-deps /wheels/" in each


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(each, marks=pytest.mark.skipif(find_spec("ray") is None, reason="install motet[ray]"))
        if each.startswith("ray")
        else each
        for each in IMAGES_LOCKS
    ],
)
def test_a_lock_has_exactly_the_requirements_of_its_extras(name: str) -> None:
    locked = set(Lock.read(name).versions)

    assert without_cuda(locked) == without_cuda(distributions(*extras_of(name))) - OWN


@pytest.mark.parametrize("name", ["build", *IMAGES_LOCKS])
def test_a_lock_has_the_versions_that_the_tests_use(name: str) -> None:
    tested = constraints()
    locked = {each: version.removesuffix("+cpu") for each, version in Lock.read(name).versions.items()}

    assert {each: version for each, version in locked.items() if each in tested} == {
        each: tested[each] for each in locked if each in tested
    }
    if name != "build":
        assert without_cuda(set(locked)) <= set(tested)


def test_the_lock_of_the_build_has_its_tools() -> None:
    assert set(Lock.read("build").versions) >= TOOLS


@pytest.mark.parametrize("image", ["worker", "ray"])
def test_the_locks_for_cpus_and_for_cuda_differ_by_torch_and_its_cuda_libraries_only(image: str) -> None:
    cpu, cuda = Lock.read(f"{image}-cpu"), Lock.read(f"{image}-cuda")
    different = {each for each in cuda.versions if cuda.hashes[each] != cpu.hashes.get(each)}

    assert set(cpu.versions) == without_cuda(set(cuda.versions))
    assert without_cuda(different) == {"torch"}
    assert "nvidia-cublas" in different
    assert cpu.versions["torch"] == f"{cuda.versions['torch']}+cpu"


def test_the_lock_of_the_orchestrator_has_no_torch() -> None:
    assert not set(Lock.read("orchestrator").versions) & {"torch", "transformers", "diffusers", "safetensors"}


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_lock_of_ray_has_the_files_of_the_worker_which_the_image_is_made_from(device: str) -> None:
    worker, ray = Lock.read(f"worker-{device}"), Lock.read(f"ray-{device}")

    assert worker.hashes.items() <= ray.hashes.items()
    assert {"ray", "starlette", "uvicorn"} <= ray.versions.keys() - worker.versions.keys()
