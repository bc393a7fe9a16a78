"""Tests of the families: each module of them is exported by some kinds of services."""

from __future__ import annotations

from pathlib import Path

from motet.core.telemetry import families as package
from motet.core.telemetry.service_metrics import KINDS, families


def test_each_module_of_families_belongs_to_kinds_of_services() -> None:
    folder = Path(package.__path__[0])
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__"}

    assert {module.__name__.rpartition(".")[2] for module in KINDS} == modules
    assert all(KINDS.values())


def test_no_family_is_in_two_modules() -> None:
    every = [name for module in KINDS for name in vars(module) if name.isupper() and name != "SECONDS"]

    assert len(every) == len(set(every)) == len(families())
