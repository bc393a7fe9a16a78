from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.message import Message
from protovalidate._gen.buf.validate import validate_pb

ROOT = Path(__file__).resolve().parents[2]
RepeatedComposite = type(descriptor_pb2.FileDescriptorSet().file)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the protos and their generated code that a test may change."""
    for folder in ("protos", "third_party", "motet/v1", "motet/internal", "motet/protos"):
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


def test_protoc_compiles_the_checkout_without_installed_protos(tmp_path: Path) -> None:
    names = [str(path.relative_to(ROOT / "protos")) for path in (ROOT / "protos").rglob("*.proto")]
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}/protos", f"-I{ROOT}/third_party"]

    done = subprocess.run([*command, f"--python_out={tmp_path}", *names], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "motet/v1/generation_service_pb2.py").exists()


def test_third_party_protos_define_the_same_messages_as_the_installed_packages(tmp_path: Path) -> None:
    target = tmp_path / "validate.binpb"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{ROOT}/third_party", f"--descriptor_set_out={target}"]
    subprocess.run([*command, "buf/validate/validate.proto"], check=True)
    (compiled,) = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes()).file
    installed = descriptor_pb2.FileDescriptorProto.FromString(validate_pb.desc().proto.to_binary())

    assert _without_options(compiled) == _without_options(installed)


def test_drift_names_a_changed_third_party_proto(copy: Path) -> None:
    (copy / "third_party/google/rpc/status.proto").write_text("changed")

    drift = contract(copy, "drift")

    assert drift.returncode == 1
    assert "third_party/google/rpc/status.proto" in drift.stdout


def test_drift_names_a_descriptor_set_of_other_protos(copy: Path) -> None:
    (copy / "motet/protos/motet.binpb").write_bytes(b"")

    drift = contract(copy, "drift")

    assert drift.returncode == 1
    assert "motet/protos/motet.binpb" in drift.stdout


def _without_options(message: Message) -> Message:
    """Return a descriptor without options and derived JSON names, and with the fields in order of their numbers."""
    for field, value in message.ListFields():
        if field.name in ("options", "json_name", "declaration"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for nested in value if isinstance(value, RepeatedComposite) else [value]:
                _without_options(nested)
    if isinstance(message, descriptor_pb2.DescriptorProto):
        fields = sorted(message.field, key=lambda field: field.number)
        del message.field[:]
        message.field.extend(fields)
    return message
