"""Checks of a bundle's files before their use: JSON, and the header of safetensors."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from motet.core.errors import BundleError

_LENGTH_BYTES = 8
"""Size of the number at the start of a safetensors file: the length of the header."""
_MAX_DEPTH = 16
"""Maximum number of nested lists and objects in a JSON document."""


def check_weight_file(path: Path, label: str) -> None:
    """Check the header of a safetensors file, without reading the weights.

    Raises `BundleError`, which names the file by `label`, for a header that is incomplete, contradicts the size of the
    file, has an unknown dtype, or describes overlapping tensors or two tensors of equal name.
    """
    try:
        with safe_open(path, framework="numpy"):
            pass
        with path.open("rb") as file:
            header = file.read(int.from_bytes(file.read(_LENGTH_BYTES), "little"))
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{label} is not a valid safetensors file: fetch the bundle again") from error
    # The library takes the last of two tensors of equal name.
    parse_json(header, f"the header of {label}")


def parse_json(raw: bytes, label: str) -> dict[str, Any]:
    """Return the object of a JSON document. Raises `BundleError` for other documents and for equal keys."""
    try:
        values = json.loads(raw, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{label} is not JSON with unique keys: fetch the bundle again") from error
    if not isinstance(values, dict):
        raise BundleError(f"{label} is not a JSON object: fetch the bundle again")
    _check_depth(values, label)
    return values


def _check_depth(values: dict[str, Any], label: str) -> None:
    """Raise `BundleError` for a document that later steps could not handle, because they are recursive."""
    level: list[Any] = [values]
    for _ in range(_MAX_DEPTH):
        level = [child for value in level for child in _children(value)]
    if level:
        raise BundleError(f"{label} has more than {_MAX_DEPTH} nested lists and objects: fetch the bundle again")


def _children(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("an object has two equal keys")
    return values
