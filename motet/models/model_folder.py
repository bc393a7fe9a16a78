"""The folder of one model: configs in JSON, and weights in safetensors."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from motet.core.bundle import Bundle
from motet.core.errors import BundleError
from motet.core.media import MEBI
from motet.models.config_rules import printable
from motet.models.weight_file import check_weight_file, parse_json

_MAX_CONFIG_BYTES = 8 * MEBI
_SHARD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.safetensors")
_WEIGHT_DTYPES = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A folder with the files of one model. Every error is a `BundleError` that names the file.

    `name` is the path of the folder in its bundle. Only the files in `listed`, which have relative paths, can be read,
    because only they are verified. None, for a folder that is not part of a bundle, allows all files.
    """

    path: Path
    name: str
    listed: Collection[str] | None = None

    @classmethod
    def of(cls, bundle: Bundle, name: str) -> Self:
        """Return a folder of a bundle."""
        return cls(bundle.path(name), name, _below(name, bundle.manifest.files))

    @classmethod
    def unlisted(cls, path: Path) -> Self:
        """Return a folder that is not part of a bundle."""
        return cls(path, path.name)

    def subfolder(self, name: str) -> ModelFolder:
        """Return a folder in this folder."""
        listed = None if self.listed is None else _below(name, self.listed)
        return ModelFolder(self.path / name, self.label(name), listed)

    def label(self, file: str) -> str:
        """Return the name of a file for people: its path in the bundle."""
        return f"{self.name}/{file}"

    def has(self, file: str) -> bool:
        """Return whether a file exists."""
        return (self.path / file).is_file()

    def file(self, file: str) -> Path:
        """Return the path of a file on this machine."""
        if not self.has(file):
            raise BundleError(f"{self.label(file)} is missing from the bundle; fetch the bundle again")
        if self.listed is not None and file not in self.listed:
            raise BundleError(f"{self.label(file)} is not listed in the manifest, so it is not verified: list it")
        return self.path / file

    def config(self, file: str = "config.json") -> dict[str, Any]:
        """Return the content of a JSON file."""
        with self.file(file).open("rb") as opened:
            raw = opened.read(_MAX_CONFIG_BYTES + 1)
        if len(raw) > _MAX_CONFIG_BYTES:
            raise BundleError(f"{self.label(file)} is larger than {_MAX_CONFIG_BYTES // MEBI} MiB: it is no config")
        return parse_json(raw, self.label(file))

    def weights(self, *stems: str) -> tuple[dict[str, Tensor], str]:
        """Return the weights of the first file that exists, in their own dtypes, and the file's name for people.

        The file has one of the names `stems` and the extension `.safetensors`. It may be split into several files
        with an index, as transformers writes it.
        """
        for stem in stems:
            file, index = f"{stem}.safetensors", f"{stem}.safetensors.index.json"
            if self.has(file):
                return self._tensors([file]), self.label(file)
            if self.has(index):
                return self._tensors(self._shards(index)), self.label(index)
        raise BundleError(f"{self.label(stems[0])}.safetensors is missing: convert the weights to safetensors")

    def _shards(self, index: str) -> list[str]:
        weight_map = self.config(index).get("weight_map")
        files = set(weight_map.values()) if isinstance(weight_map, dict) else set()
        if not files or not all(isinstance(file, str) and _SHARD.fullmatch(file) for file in files):
            raise BundleError(f"{self.label(index)} must list safetensors files of its folder under `weight_map`")
        return sorted(files)

    def _tensors(self, files: Iterable[str]) -> dict[str, Tensor]:
        state: dict[str, Tensor] = {}
        for file in files:
            path = self.file(file)
            check_weight_file(path, self.label(file))
            try:
                loaded = load_file(path)
            except SafetensorError as error:
                raise BundleError(f"{self.label(file)} has a dtype that is not implemented: use float32") from error
            for name, tensor in loaded.items():
                if tensor.dtype not in _WEIGHT_DTYPES:
                    expected = ", ".join(str(dtype).removeprefix("torch.") for dtype in _WEIGHT_DTYPES)
                    raise BundleError(
                        f"{self.label(file)}: {printable(name)} must have the dtype {expected}, not {tensor.dtype}"
                    )
                if name in state:
                    raise BundleError(f"{self.label(file)}: {printable(name)} is in another file, too")
                state[name] = tensor
        return state


def _below(folder: str, files: Iterable[str]) -> frozenset[str]:
    start = f"{folder}/"
    return frozenset(file.removeprefix(start) for file in files if file.startswith(start))


def check_shapes(expected: Mapping[str, Tensor], state: Mapping[str, Tensor], label: str) -> None:
    """Raise `BundleError` unless a file has exactly the expected parameters, each in the expected shape.

    The error names the file by `label`, and the parameter.
    """
    check_names(expected, state, label)
    for name, tensor in expected.items():
        check_shape(name, tuple(tensor.shape), state[name], label)


def check_names(expected: Collection[str], found: Collection[str], label: str) -> None:
    """Raise `BundleError`, which names the file and a parameter, for missing and for unexpected parameters."""
    for problem, names in (("missing", set(expected) - set(found)), ("unexpected", set(found) - set(expected))):
        if names:
            raise BundleError(
                f"{label} has {len(names)} {problem} parameters, such as {printable(min(names))}: "
                "the weights belong to another model or are incomplete"
            )


def check_shape(name: str, expected: tuple[int, ...], found: Tensor, label: str) -> None:
    """Raise `BundleError`, which names the file and the parameter, for a parameter of another shape."""
    if tuple(found.shape) != expected:
        raise BundleError(
            f"{label}: {name} must have the shape {list(expected)}, not {list(found.shape)}: "
            "the weights do not fit the config"
        )
