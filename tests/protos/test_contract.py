from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The contract and its generated code, to be changed."""
    for folder in ("protos", "motet/v1", "motet/internal"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def drift(root: Path) -> tuple[int, str]:
    command = [sys.executable, str(root / "protos" / "contract.py"), "drift"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def test_the_committed_code_is_what_the_protos_give(copy: Path) -> None:
    assert drift(copy) == (0, "")


def test_a_changed_proto_is_told_until_its_code_is_made_again(copy: Path) -> None:
    proto = sorted((copy / "protos/motet/v1").glob("*.proto"))[0]
    proto.write_text(proto.read_text() + "\nmessage Novelty {}\n")
    code, told = drift(copy)

    assert code == 1
    assert f"motet/v1/{proto.stem}_pb2.py" in told

    subprocess.run([sys.executable, str(copy / "protos" / "contract.py"), "generate"], check=True)
    assert drift(copy) == (0, "")


def test_code_whose_proto_is_gone_is_told(copy: Path) -> None:
    (copy / "motet/v1/gone_pb2.py").touch()

    code, told = drift(copy)

    assert code == 1
    assert "motet/v1/gone_pb2.py" in told


def test_a_proto_that_does_not_compile_is_told_with_its_place(copy: Path) -> None:
    (copy / "protos/motet/v1/broken.proto").write_text('syntax = "proto3";\npackage motet.v1;\nmessage {}\n')
    command = [sys.executable, str(copy / "protos" / "contract.py"), "generate"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "broken.proto:3" in done.stderr
