from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from motet.protos import proto_files

ROOT = Path(__file__).resolve().parents[1]


def build(project: Path, folder: Path) -> Path:
    """Build the wheel of a project."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder / project.name)]
    subprocess.run(command, cwd=project, check=True, capture_output=True)
    (wheel,) = (folder / project.name).glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheels of Motet and of the bundle nano."""
    folder = tmp_path_factory.mktemp("wheels")
    return build(ROOT, folder), build(ROOT / "bundles", folder)


@pytest.fixture(scope="module")
def wheel(wheels: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the content of both wheels, as `pip install` puts it into site-packages."""
    folder = tmp_path_factory.mktemp("installed") / "site-packages"
    for path in wheels:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
    return folder


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

    assert files <= {Path("nano") / path.relative_to(wheel / "motet_nano") for path in wheel.rglob("motet_nano/**/*")}


def test_the_wheel_puts_three_packages_into_site_packages(wheels: tuple[Path, Path]) -> None:
    installed = [{name.split("/")[0] for name in zipfile.ZipFile(path).namelist()} for path in wheels]
    packages = [{name for name in names if not name.endswith(".dist-info")} for names in installed]

    assert packages == [{"motet", "orchestrator", "services"}, {"motet_nano"}]


def test_the_base_install_takes_less_than_a_megabyte(wheels: tuple[Path, Path]) -> None:
    assert wheels[0].stat().st_size < 10**6


CLIENT = """
import sys

BASE = {"grpc", "google", "motet", "typing_extensions", *sys.stdlib_module_names}


class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in BASE:
            raise ModuleNotFoundError(f"the base install has no {name}", name=name)


sys.meta_path.insert(0, Missing())
from motet.client import Client, SyncClient

with SyncClient("127.0.0.1:1", timeout=0.1) as client:
    try:
        client.models()
    except Exception as error:
        print(error.reason)
"""


def test_the_client_needs_only_the_base_install(wheel: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CLIENT],
        cwd=wheel.parent,
        env=os.environ | {"PYTHONPATH": str(wheel)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout in ("WORKER_UNAVAILABLE\n", "DEADLINE_EXCEEDED\n")


def test_a_request_runs_outside_the_repository(wheel: Path) -> None:
    done = motet(wheel, "run", "hello", "--toy", "--out", "media")

    assert done.returncode == 0, done.stderr
    assert len(list((wheel.parent / "media").iterdir())) == 3


def test_a_benchmark_runs_from_the_wheel(wheel: Path) -> None:
    done = motet(wheel, "bench", "orchestrator", "--requests", "2", "--rounds", "1", "--plans", "2")

    assert "overhead per worker call" in done.stdout, done.stderr


def test_the_wheel_writes_the_protos_of_the_checkout(wheel: Path) -> None:
    done = motet(wheel, "protos", "--out", "protos")

    folder = wheel.parent / "protos"
    written = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    assert done.returncode == 0, done.stderr
    assert {name: path.read_bytes() for name, path in written.items()} == {
        name: path.read_bytes() for name, path in proto_files().items()
    }


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of the repository's files without the bundle. No other process writes into it."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        if not name.startswith("bundles/") and (ROOT / name).is_file():
            copy = tmp_path / "checkout" / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, copy)
    return tmp_path / "checkout"


def distributions(checkout: Path, folder: Path) -> dict[str, bytes]:
    """Build the wheel and the source archive of a checkout, with a fixed time."""
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1"}
    subprocess.run(command, cwd=checkout, env=environment, check=True, capture_output=True)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_same_files_give_the_same_wheel_and_source_archive(checkout: Path, tmp_path: Path) -> None:
    first = distributions(checkout, tmp_path / "first")

    assert len(first) == 2
    assert first == distributions(checkout, tmp_path / "second")


def test_a_file_beside_the_project_stays_out_of_the_source_archive(checkout: Path, tmp_path: Path) -> None:
    expected = {path.name for path in checkout.iterdir()} - {".ci"}
    (checkout / "server.key").write_text("a secret")
    distributions(checkout, tmp_path / "built")

    (archive,) = (tmp_path / "built").glob("*.tar.gz")
    with tarfile.open(archive) as file:
        names = {name.split("/")[1] for name in file.getnames()}
    assert names - {"PKG-INFO"} == expected


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

    assert done.stdout.strip() == str(wheel / "motet_nano")
