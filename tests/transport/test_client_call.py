"""Every call on a stub is in `open_stream` or `unary`: gRPC may never cancel a call that is merely dropped."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import motet

SOURCES = [
    path
    for folder in ("motet", "orchestrator", "services")
    for path in (Path(motet.__file__).parents[1] / folder).rglob("*.py")
    if "_pb2" not in path.name and "benchmarks" not in path.parts
]
GUARD_NAMES = {"open_stream", "unary", "stream"}


def stub_calls(function: ast.AST) -> Iterator[str]:
    """Yield the names of the methods of a stub that a function calls or passes on, such as `self._stub.Encode`."""
    for node in ast.walk(function):
        match node:
            case ast.Attribute(ast.Attribute(ast.Name("self")), name) if name[:1].isupper():
                yield name


def names(function: ast.AST) -> set[str]:
    """Return all names and attributes in a function."""
    return {getattr(node, "attr", getattr(node, "id", "")) for node in ast.walk(function)}


def test_every_call_on_a_stub_is_guarded() -> None:
    guarded, unguarded = [], []
    for path in SOURCES:
        for function in ast.walk(ast.parse(path.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                calls = list(stub_calls(function))
                functions = guarded if names(function) & GUARD_NAMES else unguarded
                functions.extend(f"{path.name}: {call}" for call in calls)

    assert unguarded == []
    assert len(guarded) >= 12
