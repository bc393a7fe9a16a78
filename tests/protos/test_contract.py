from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the protos and their generated code that a test may change."""
    for folder in ("protos", "motet/v1", "motet/internal"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def contract(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run one command of the contract script of `root`."""
    script = str(root / "protos" / "contract.py")
    return subprocess.run([sys.executable, script, command], capture_output=True, text=True, check=False)


def test_the_committed_code_is_the_generated_code(copy: Path) -> None:
    drift = contract(copy, "drift")

    assert (drift.returncode, drift.stdout) == (0, "")


def test_drift_names_a_changed_proto_until_its_code_is_generated_again(copy: Path) -> None:
    proto = sorted((copy / "protos/motet/v1").glob("*.proto"))[0]
    proto.write_text(proto.read_text() + "\nmessage Novelty {}\n")
    drift = contract(copy, "drift")

    assert drift.returncode == 1
    assert f"motet/v1/{proto.stem}_pb2.py" in drift.stdout

    assert contract(copy, "generate").returncode == 0
    drift = contract(copy, "drift")
    assert (drift.returncode, drift.stdout) == (0, "")


def test_drift_names_generated_code_without_a_proto(copy: Path) -> None:
    (copy / "motet/v1/gone_pb2.py").touch()

    drift = contract(copy, "drift")

    assert drift.returncode == 1
    assert "motet/v1/gone_pb2.py" in drift.stdout


def test_an_invalid_proto_is_reported_with_its_line(copy: Path) -> None:
    (copy / "protos/motet/v1/broken.proto").write_text('syntax = "proto3";\npackage motet.v1;\nmessage {}\n')

    generate = contract(copy, "generate")

    assert generate.returncode == 1
    assert "broken.proto:3" in generate.stderr
