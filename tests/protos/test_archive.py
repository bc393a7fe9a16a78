"""The release archive of the protos: it compiles alone, and its descriptor set has the same content."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from motet.protos import DESCRIPTOR_SET, proto_files
from motet.transport.access.authorization import ROLES

ROOT = Path(__file__).resolve().parents[2]
NAME = f"motet-protos-{version('motet')}"


def archive(folder: Path, **environment: str) -> bytes:
    """Return the archive that the release script writes."""
    command = [sys.executable, str(ROOT / "protos" / "archive.py"), str(folder)]
    subprocess.run(command, env=os.environ | environment, check=True)
    return (folder / f"{NAME}.tar.gz").read_bytes()


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The unpacked archive, in a folder of its own."""
    with tarfile.open(fileobj=io.BytesIO(archive(tmp_path / "dist"))) as packed:
        packed.extractall(tmp_path / "unpacked", filter="data")
    return tmp_path / "unpacked" / NAME


def protoc(folder: Path, *arguments: str) -> None:
    """Compile all protos of a folder, with the folder as the only include path."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.proto"))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{folder}", *arguments, *names]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def descriptors(folder: Path) -> descriptor_pb2.FileDescriptorSet:
    return descriptor_pb2.FileDescriptorSet.FromString((folder / DESCRIPTOR_SET).read_bytes())


def test_the_unpacked_archive_compiles_without_other_files(unpacked: Path, tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()

    protoc(unpacked, f"--python_out={tmp_path}/code", f"--grpc_python_out={tmp_path}/code")

    assert (tmp_path / "code/motet/v1/generation_service_pb2_grpc.py").exists()


def test_the_descriptor_set_is_the_compiled_archive_with_its_imports_and_the_comments_of_motet(
    unpacked: Path, tmp_path: Path
) -> None:
    protoc(unpacked, "--include_imports", "--include_source_info", f"--descriptor_set_out={tmp_path}/all.binpb")

    compiled = descriptor_pb2.FileDescriptorSet.FromString((tmp_path / "all.binpb").read_bytes())
    for file in compiled.file:
        if not file.name.startswith("motet/"):
            file.ClearField("source_code_info")
        commented = [each for each in file.source_code_info.location if each.leading_comments or each.trailing_comments]
        del file.source_code_info.location[:]
        file.source_code_info.location.extend(commented)
    shipped = descriptors(unpacked)
    assert {file.name: file for file in compiled.file} == {file.name: file for file in shipped.file}
    comments = {
        location.leading_comments.split("\n")[0].strip()
        for file in shipped.file
        for location in file.source_code_info.location
    }
    assert "GenerationService answers prompts. Prompts and answers are any mix of text and media." in comments


def test_the_descriptor_set_loads_into_an_empty_pool_in_its_order_with_every_method(unpacked: Path) -> None:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptors(unpacked).file:
        pool.Add(file)

    methods = [method.removeprefix("/").replace("/", ".") for method in ROLES if method.startswith("/motet.")]
    assert len(methods) > 10
    assert all(pool.FindMethodByName(method) for method in methods)
    for name in ("ErrorInfo", "RetryInfo", "BadRequest", "QuotaFailure", "RequestInfo"):
        assert pool.FindMessageTypeByName(f"google.rpc.{name}")


def test_the_archive_has_every_file_the_licences_and_the_notices(unpacked: Path) -> None:
    files = {path.relative_to(unpacked).as_posix(): path for path in unpacked.rglob("*") if path.is_file()}

    assert set(files) == set(proto_files())
    assert {"README.md", "LICENSE", "NOTICE", DESCRIPTOR_SET} <= set(files)
    notice = files["NOTICE"].read_text()
    assert all(name in notice for name in files if name.startswith(("buf/", "google/")))


def test_the_same_files_give_the_same_bytes(tmp_path: Path) -> None:
    first = archive(tmp_path / "first", SOURCE_DATE_EPOCH="1000000000")
    second = archive(tmp_path / "second", SOURCE_DATE_EPOCH="1000000000", TZ="Asia/Tokyo")

    assert first == second
    with tarfile.open(fileobj=io.BytesIO(first)) as packed:
        members = packed.getmembers()
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {(member.mtime, member.uid, member.gid, member.uname, member.mode) for member in members} == {
        (1000000000, 0, 0, "", 0o644)
    }
