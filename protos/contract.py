"""Generate the Python code of the protos, and check the protos.

    python protos/contract.py generate            write the generated code, third_party/ and the descriptor set
    python protos/contract.py drift               fail if the committed files differ from the generated files
    python protos/contract.py lint                check buf's STANDARD and COMMENTS rules
    python protos/contract.py breaking            fail if a change breaks callers of the last release

The script uses no network. Imported protos come from installed packages: `google/api` and `google/rpc` are
files of googleapis-common-protos, `google/protobuf` is part of protobuf, and `buf/validate` is the descriptor
inside protovalidate. Therefore buf reads compiled descriptor sets, not folders.
"""

from __future__ import annotations

import argparse
import filecmp
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from dependencies import ERROR_DETAILS, VALIDATE, dependencies
from google.protobuf import descriptor_pb2, duration_pb2, field_mask_pb2, timestamp_pb2

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
THIRD_PARTY = "third_party"
# All protos and their imports, compiled from the files that a release ships: `protos/` and `third_party/`.
DESCRIPTOR_SET = "motet/protos/motet.binpb"
# Folders of the generated code, by the folder of the protos. Besides generated code they hold only `__init__.py`.
# Foreign packages are inside `motet`, because their names in site-packages could collide with other distributions.
GENERATED = {
    "motet/v1": "motet/v1",
    "motet/internal/v1": "motet/internal/v1",
    "externalscaler": "motet/internal/externalscaler",
    "buf/validate": "motet/internal/buf/validate",
}
# Rules for the internal package. A rollout runs two versions at once, so changes must keep both encodings readable.
# The public package has stricter rules, in buf.yaml: no change may break a caller's code within a major version.
INTERNAL_BREAKING = (
    '{"version":"v2","breaking":{"use":["WIRE_JSON"],"ignore":["buf","google","externalscaler","motet/v1"]}}'
)

_FOREIGN = ("buf.validate", "externalscaler")
"""Packages that others define. Their generated code is in `motet.internal`."""

_COMPLETE = ("--include_imports", "--include_source_info")


def main() -> int:
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    commands = {"generate": generate, "drift": drift, "lint": lint, "breaking": breaking}
    parser.add_argument("command", choices=commands)
    return commands[parser.parse_args().command]()


def generate() -> int:
    """Write the Python code of every proto to its folder in `GENERATED`, and the imported protos."""
    for name, text in dependencies().items():
        (ROOT / THIRD_PARTY / name).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / THIRD_PARTY / name).write_text(text)
    with _generated() as folder:
        for source, destination in GENERATED.items():
            target = ROOT / destination
            target.mkdir(parents=True, exist_ok=True)
            for stale in target.glob("*_pb2*"):
                stale.unlink()
            for file in sorted((folder / source).glob("*_pb2*")):
                (target / file.name).write_bytes(file.read_bytes())
    (ROOT / DESCRIPTOR_SET).write_bytes(_descriptor_set())
    return 0


def drift() -> int:
    """Compare the committed code with newly generated code. Return 1 if they differ."""
    with _generated() as folder:
        stale = [
            f"{destination}/{file}"
            for source, destination in GENERATED.items()
            for file in sorted(_names(folder / source) | _names(ROOT / destination))
            if not _equal(folder / source / file, ROOT / destination / file)
        ]
    for name, text in dependencies().items():
        file = ROOT / THIRD_PARTY / name
        if not file.exists() or file.read_text() != text:
            stale.append(f"{THIRD_PARTY}/{name}")
    descriptors = ROOT / DESCRIPTOR_SET
    # A wrong file in third_party need not compile.
    if not stale and not (descriptors.exists() and descriptors.read_bytes() == _descriptor_set()):
        stale.append(DESCRIPTOR_SET)
    if stale:
        print("generated files differ from the protos; run `make protos` and commit its files:", *stale, sep="\n  ")
    return 1 if stale else 0


def lint() -> int:
    """Check the protos against the rules in buf.yaml."""
    with tempfile.TemporaryDirectory() as folder:
        compiled = _compile(PROTOS, Path(folder) / "now.binpb")
        return _buf("lint", str(compiled), "--config", str(ROOT / "buf.yaml"))


def breaking() -> int:
    """Compare the protos with the last release, or with the main branch if there is no release."""
    baseline = _baseline()
    if baseline is None:
        print("breaking: skipped, because no earlier commit has protos")
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = _compile(_checkout(baseline, folder), folder / "before.binpb")
        now = _compile(PROTOS, folder / "now.binpb")
        public = _buf("breaking", str(now), "--against", str(before), "--config", str(ROOT / "buf.yaml"))
        internal = _buf("breaking", str(now), "--against", str(before), "--config", INTERNAL_BREAKING)
    return public or internal


@contextmanager
def _generated() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        outputs = (f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python", "mypy_grpc"))
        _protoc(PROTOS, *outputs, *_sources(PROTOS), VALIDATE)
        for services in folder.rglob("*_pb2_grpc.py"):
            # protoc writes this module for every proto. It is empty unless the proto has a service.
            if "Servicer" not in services.read_text():
                services.unlink()
                services.with_suffix(".pyi").unlink(missing_ok=True)
        for code in folder.rglob("*.py*"):
            text = code.read_text()
            for foreign in _FOREIGN:
                text = text.replace(f"from {foreign} import", f"from motet.internal.{foreign} import")
            code.write_text(text)
        yield folder


def _compile(protos: Path, target: Path) -> Path:
    _protoc(protos, *_COMPLETE, f"--descriptor_set_out={target}", *_sources(protos))
    return target


def _descriptor_set() -> bytes:
    """Return all protos and their imports, compiled from the committed files only. Motet's own ones have comments."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "protos.binpb"
        includes = (f"-I{PROTOS}", f"-I{ROOT / THIRD_PARTY}")
        sources = (*_sources(PROTOS), ERROR_DETAILS)
        _run("grpc_tools.protoc", *includes, *_COMPLETE, f"--descriptor_set_out={target}", *sources)
        descriptors = descriptor_pb2.FileDescriptorSet.FromString(target.read_bytes())
        for file in descriptors.file:
            # The comments of imports are as large as all others, and every compiler has them in the protos.
            if not file.name.startswith("motet/"):
                file.ClearField("source_code_info")
            # Most locations have no comment. Only compilers need their lines and columns.
            locations = [
                each for each in file.source_code_info.location if each.leading_comments or each.trailing_comments
            ]
            del file.source_code_info.location[:]
            file.source_code_info.location.extend(locations)
        return descriptors.SerializeToString(deterministic=True)


def _sources(protos: Path) -> list[str]:
    sources = sorted(str(path.relative_to(protos)) for path in protos.rglob("*.proto"))
    if not sources:
        raise SystemExit(f"no .proto file in {protos.name}/")
    return sources


def _protoc(protos: Path, *arguments: str) -> None:
    # Run in a child process: grpc_tools.protoc keeps parsed files, and two versions of one file would collide.
    with tempfile.NamedTemporaryFile(suffix=".binpb") as validate:
        validate.write(_validate_descriptors())
        validate.flush()
        _run(
            *("grpc_tools.protoc", f"--descriptor_set_in={validate.name}"),
            f"-I{protos}",
            *(f"-I{Path(root).parent.parent}" for root in _google_api()),
            f"--plugin=protoc-gen-mypy_grpc={Path(sys.executable).parent / 'protoc-gen-mypy_grpc'}",
            *arguments,
        )


def _run(*arguments: str) -> None:
    """Run a Python module. Print its errors and exit if it fails."""
    command = (sys.executable, "-m", *arguments)
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    messages = [line for line in done.stderr.splitlines() if not line.startswith("Writing mypy")]
    if done.returncode:
        raise SystemExit("\n".join(messages))


def _google_api() -> list[str]:
    api = find_spec("google.api")
    return list(api.submodule_search_locations or ()) if api else []


def _validate_descriptors() -> bytes:
    """Return the descriptor of protovalidate's rules. The package ships it as Python code, not as a .proto file."""
    from protovalidate._gen.buf.validate import validate_pb

    descriptors = descriptor_pb2.FileDescriptorSet()
    for module in (descriptor_pb2, duration_pb2, timestamp_pb2, field_mask_pb2):
        module.DESCRIPTOR.CopyToProto(descriptors.file.add())
    descriptors.file.add().ParseFromString(validate_pb.desc().proto.to_binary())
    return descriptors.SerializeToString()


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.glob("*_pb2*")}


def _equal(first: Path, second: Path) -> bool:
    return first.exists() and second.exists() and filecmp.cmp(first, second, shallow=False)


def _baseline() -> str | None:
    releases = _git("tag", "--list", "v*", "--sort=-creatordate").decode().split()
    for commit in (*releases[:1], "origin/main", "main"):
        if _git("ls-tree", "-r", "--name-only", commit, "--", "protos/motet"):
            return commit
    return None


def _checkout(commit: str, folder: Path) -> Path:
    with tarfile.open(fileobj=io.BytesIO(_git("archive", commit, "protos"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / "protos"


def _git(*arguments: str) -> bytes:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False
    ).stdout


def _buf(*arguments: str) -> int:
    return subprocess.run([os.environ.get("BUF", "buf"), *arguments], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
