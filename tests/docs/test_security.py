"""Tests of docs/security.md: each claim names a test that exists, and each setting exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT

PAGE = (ROOT / "docs" / "security.md").read_text()
CLAIMS = PAGE.partition("| claim | test |\n|---|---|\n")[2]


def functions_of(path: Path) -> set[str]:
    """Return the names of the test functions in a file, or in the files of a folder."""
    files = path.rglob("test_*.py") if path.is_dir() else [path]
    nodes = (node for file in files if file.exists() for node in ast.walk(ast.parse(file.read_text())))
    return {
        node.name
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    }


ROWS = [line for line in CLAIMS.splitlines() if line.startswith("| ") and not line.startswith("| **")]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip()[:60])
def test_a_claim_names_tests_that_exist(row: str) -> None:
    _, claim, tests, _ = row.split("|")
    named = re.findall(r"`(tests/[^`]+)`", tests)

    assert claim.strip()
    assert named
    for name in named:
        path, _, function = name.partition("::")
        found = functions_of(ROOT / path)
        assert found, f"{path} has no test"
        assert not function or function in found, f"{path} has no {function}"


def test_there_are_claims_on_each_subject_of_the_page() -> None:
    subjects = re.findall(r"^\| \*\*(.+)\*\* \| \|$", CLAIMS, re.MULTILINE)

    assert len(ROWS) > 30
    assert {"Listeners", "Callers", "Isolation", "Connections", "Media"} <= set(subjects)
    assert PAGE.count("| claim | test |") == 1


def test_every_option_and_variable_of_the_page_is_a_setting() -> None:
    settings = (ROOT / "docs" / "reference" / "settings.md").read_text()
    commands = {"--expires", "--model", "--modality", "--ray", "--tls", "--server", "--no-reflection"}
    named = set(re.findall(r"MOTET_[A-Z_]+|(?<![\w`-])--[a-z][a-z-]+|(?<=`)--[a-z][a-z-]+", PAGE)) - commands

    assert {name for name in named if f"`{name}`" not in settings and name != "--jwt-"} == set()
