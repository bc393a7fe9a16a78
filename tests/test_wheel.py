from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of the wheel, as `pip install` puts it into site-packages."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as archive:
        archive.extractall(folder / "installed")
    return folder / "installed"


def motet(wheel: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with the wheel's packages, in a folder outside the repository."""
    return subprocess.run(
        [sys.executable, "-m", "services", *arguments],
        cwd=wheel.parent,
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_contains_every_file_of_the_bundle(wheel: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "bundles/nano"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = {Path(line).relative_to("bundles") for line in listed.stdout.splitlines()}

    assert files <= {path.relative_to(wheel / "motet/_bundles") for path in wheel.rglob("motet/_bundles/**/*")}


def test_the_wheel_puts_three_packages_into_site_packages(wheel: Path) -> None:
    installed = {path.name for path in wheel.iterdir() if not path.name.endswith(".dist-info")}

    assert installed == {"motet", "orchestrator", "services"}


def test_a_request_runs_outside_the_repository(wheel: Path) -> None:
    done = motet(wheel, "run", "hello", "--toy", "--out", "media")

    assert done.returncode == 0, done.stderr
    assert len(list((wheel.parent / "media").iterdir())) == 3


def test_a_benchmark_runs_from_the_wheel(wheel: Path) -> None:
    done = motet(wheel, "bench", "orchestrator", "--requests", "2", "--rounds", "1", "--plans", "2")

    assert "overhead per worker call" in done.stdout, done.stderr


def test_the_wheel_contains_the_default_bundle(wheel: Path) -> None:
    program = "from motet.core.bundle import bundle_folder; print(bundle_folder('nano'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=wheel.parent,
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.strip() == str(wheel / "motet/_bundles/nano")
