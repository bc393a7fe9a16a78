"""A reader of YAML files that needs bounded time and memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from motet.core.errors import BundleError
from motet.core.files.regular_file import NotRegularFileError, read_beginning

MAX_BYTES = 128 * 1024
"""Maximum size of a document in bytes."""
_MAX_DEPTH = 16
"""Maximum number of nested lists and mappings."""
_MAX_NODES = 5000
"""Maximum number of keys and values. Parsing them takes about a second."""


def read_yaml(path: Path, label: str) -> tuple[bytes, object]:
    """Return the bytes and the value of a bundle's YAML file.

    Raises `BundleError`, which names the file by `label`, for a file that is missing, too large or no regular file, and
    for a document that `parse_yaml` refuses.
    """
    raw = _read(path, label)
    return raw, parse_yaml(raw, label)


def parse_yaml(raw: bytes, label: str) -> object:
    """Return the value of a YAML document. Dates are text.

    Raises `BundleError`, which names the document by `label`, for a document that is too large, or has aliases, equal
    keys or too many values.
    """
    if len(raw) > MAX_BYTES:
        raise BundleError(f"{label} is larger than {MAX_BYTES} bytes: write a shorter file")
    try:
        return yaml.load(raw, _StrictLoader)  # a subclass of SafeLoader
    except Exception as error:
        # The library raises any exception for values such as a number of a million digits.
        raise BundleError(f"{label} is not valid YAML: {_advice(error)}") from error


class _StrictLoader(yaml.SafeLoader):
    """A YAML loader that needs time and memory in proportion to the document. Dates are text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 (the base class declares it so)
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    _depth = _nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        # A few aliases and merge keys can describe a document that does not fit into memory.
        if self.check_event(yaml.AliasEvent):
            raise _UnsupportedYamlError("write a value again instead of an alias")
        if self._depth == _MAX_DEPTH:
            raise _UnsupportedYamlError(f"nest at most {_MAX_DEPTH} lists and mappings")
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise _UnsupportedYamlError(f"write at most {_MAX_NODES} keys and values")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            raise _UnsupportedYamlError(f"line {node.start_mark.line + 1} begins a mapping with two equal keys")
        return mapping


class _UnsupportedYamlError(yaml.YAMLError):
    """A valid YAML document that is not supported. The message is for people."""


def _advice(error: Exception) -> str:
    if isinstance(error, _UnsupportedYamlError):
        return str(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"correct line {error.problem_mark.line + 1}"
    return "correct its values"


def _read(path: Path, label: str) -> bytes:
    try:
        return read_beginning(path, MAX_BYTES)
    except NotRegularFileError:
        raise BundleError(f"{label} is not a regular file: pass the folder of a bundle") from None
    except (FileNotFoundError, NotADirectoryError) as error:
        raise BundleError(f"{label} is missing: pass the folder of a bundle") from error
    except OSError as error:
        raise BundleError(f"{label} cannot be read: check its permissions") from error
