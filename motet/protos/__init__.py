"""The .proto files of Motet's gRPC API with their imports, and their descriptor set, for programs in any language."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

DESCRIPTOR_SET = "motet.binpb"
"""Name of the file with all protos and their imports as one `FileDescriptorSet`, with their comments."""

_HERE = Path(__file__).parent
_CHECKOUT = _HERE.parents[1]
_PATTERNS = ("*.proto", DESCRIPTOR_SET, "README.md", "LICENSE", "NOTICE")


def proto_files() -> Mapping[str, Path]:
    """Return the .proto files, the descriptor set, a README and the licences, by their path in one folder.

    The path of a .proto file is the path under which others import it, so the folder is the only include path that a
    compiler needs. `google/protobuf` is not there: it is a part of every compiler and library.
    """
    # A wheel has all files in one folder. In a checkout, the files of one folder come from several places.
    installed = (_HERE / "LICENSE").exists()
    roots = [_HERE] if installed else [_HERE, _CHECKOUT / "protos", _CHECKOUT / "third_party"]
    found = {path.relative_to(root).as_posix(): path for root in roots for path in _files(root)}
    if not installed:
        found["LICENSE"] = _CHECKOUT / "LICENSE"
    return dict(sorted(found.items()))


def write_protos(folder: Path) -> None:
    """Write all files of `proto_files` to a folder, which is created."""
    for name, path in proto_files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(path.read_bytes())


def _files(root: Path) -> list[Path]:
    return [path for pattern in _PATTERNS for path in root.rglob(pattern)]
