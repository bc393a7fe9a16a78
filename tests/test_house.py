"""Rules of the house that no other tool checks."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("motet", "orchestrator", "services", "examples", "protos", "tests")
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")

# All that the client may bring along. grpc itself tries to import its sister packages, and does without them.
CLIENT_NEEDS = re.compile(r"motet|google|grpc(_\w+)?|typing_extensions|_?cython_\w+")
HEAVY = ("torch", "numpy", "transformers", "diffusers", "PIL", "av", "soundfile")

# Where particular modalities have names. Everywhere else a modality is a string that came from the manifest.
MAY_NAME_MODALITIES = (
    "motet/media/",
    "motet/models/",
    "motet/training/",
    "tests/",
    "examples/",
    "services/benchmarks/",
)
MODALITY = re.compile(r"(?<![a-z])(image|audio|video)s?(?![a-z])", re.IGNORECASE)

# A class that is called a base says nothing; a baseline is a thing.
POOR_NAMES = re.compile(r"^\s*class (Base([A-Z]\w*)?|\w*(Manager|Handler|Helper|Utils?|Impl))\b", re.MULTILINE)
UNPICKLES = re.compile(r"\b(import pickle|from pickle|torch\.load|allow_pickle=True|joblib|dill)\b")


def sources(*suffixes: str) -> Iterator[tuple[str, str]]:
    """Each source file that people write: its path from the root, and its text."""
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in suffixes and not GENERATED.search(path.name):
                yield path.relative_to(ROOT).as_posix(), path.read_text()


def loaded_by(program: str) -> set[str]:
    """The top-level modules in memory after a fresh interpreter ran the program, the standard library's left out."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{program}\nprint(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    standard = sys.stdlib_module_names | {"__main__", "__mp_main__", "_sitebuiltins", "_distutils_hack"}
    return {name.partition(".")[0] for name in done.stderr.split()} - standard


def test_the_client_needs_nothing_but_grpc_and_protobuf() -> None:
    assert [name for name in loaded_by("import motet.client") if not CLIENT_NEEDS.fullmatch(name)] == []


@pytest.mark.parametrize("command", ["--help", "run --help", "serve --help", "bench --help"])
def test_help_loads_nothing_heavy(command: str) -> None:
    program = (
        f"from services.cli.app import app\nsys.argv = ['motet', *{command.split()}]\n"
        "try:\n    app()\nexcept SystemExit as end:\n    assert end.code in (0, None)"
    )

    assert loaded_by(program) & set(HEAVY) == set()


def test_modalities_have_names_only_where_media_are_made_and_read() -> None:
    named = [
        f"{path}:{number}: {line.strip()}"
        for path, text in sources(".py", ".proto")
        if not path.startswith(MAY_NAME_MODALITIES)
        for number, line in enumerate(text.splitlines(), 1)
        if MODALITY.search(line)
    ]

    assert named == []


def test_no_file_is_too_long_to_read_at_once() -> None:
    assert [(path, lines) for path, text in sources(".py") if (lines := text.count("\n")) > 400] == []


def test_nothing_that_unpickles_is_ever_called() -> None:
    assert [path for path, text in sources(".py") if path != "tests/test_house.py" and UNPICKLES.search(text)] == []


def test_names_say_what_things_are() -> None:
    assert [(path, found.group()) for path, text in sources(".py") for found in POOR_NAMES.finditer(text)] == []


def test_every_make_target_that_the_documents_name_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    documents = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {name for path in documents for name in re.findall(r"`?\bmake ([a-z]+)`", path.read_text())}
    named |= {name for path in documents for name in re.findall(r"^make ([a-z]+)", path.read_text(), re.MULTILINE)}

    assert {"demo", "test"} <= targets
    assert named - targets == set()
