"""The help of all commands: whole descriptions, and examples that work."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from motet.transport.access.key_records import KeyRecord, format_records
from services.cli.app import app
from services.cli.commands import examples_of
from tests.services.command import CLEAN, COMMAND, TIMEOUT, interrupt, motet, started, table_of

ROOT = Path(__file__).parents[3]


def contexts(command: Any = None, parent: Any = None, name: str = "motet") -> Iterator[Any]:
    """Yield the context of `motet` and of each command below it."""
    command = command or get_command(app)
    context = command.make_context(name, [], parent=parent, resilient_parsing=True)
    yield context
    for child in command.list_commands(context) if hasattr(command, "list_commands") else ():
        yield from contexts(command.resolve_command(context, [child])[1], context, child)


CONTEXTS = {context.command_path.removeprefix("motet").strip(): context for context in contexts()}
EXAMPLES = [example for path in CONTEXTS for example in examples_of(path)]
KEY = KeyRecord(
    id="5mz0q4h8tc2w", sha256="0" * 64, tenant="acme", roles=frozenset({"read"}), create_time=datetime.now(UTC)
)
"""The record of the key in the examples of `motet keys`."""
SERVES = ("motet serve", "motet up")
OTHERS = ("motet bench", "motet cluster", "motet explain", "motet top")
"""Commands whose examples need more than this machine: tests of their own run them."""


@pytest.mark.parametrize("path", CONTEXTS)
def test_help_has_whole_descriptions_and_ends_with_two_examples(path: str) -> None:
    shown = CONTEXTS[path].get_help()

    # The words of a usage line that may be repeated.
    assert "..." not in re.sub(r"\[[A-Z:]+\]\.\.\.", "", shown)
    assert re.search(r"-h, --help +Show this message and exit.", shown)
    assert shown.splitlines()[-3:] == ["Examples:", *(f"  {example}" for example in examples_of(path))]


def test_h_shows_the_help_of_a_command() -> None:
    result = motet("serve", "decoder", "-h")

    assert result.returncode == 0
    assert result.stdout.endswith("--background\n")


def shell(example: str, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run an example in a shell, in which `motet` is this repository's."""
    definition = f'motet() {{ {shlex.join(COMMAND)} "$@"; }}\n'
    environment = CLEAN | settings
    script = definition + example
    return subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, input="", timeout=TIMEOUT, cwd=folder, env=environment
    )


@pytest.mark.parametrize(
    "example",
    sorted({example for example in EXAMPLES if not example.startswith((*SERVES, *OTHERS))}),
)
def test_an_example_of_an_answer_works(example: str, tmp_path: Path) -> None:
    (tmp_path / "keys.jsonl").write_bytes(format_records([KEY]))

    result = shell(example, tmp_path, MOTET_TOY="1")

    assert result.returncode == 0, result.stderr


def test_the_examples_of_services_work() -> None:
    names: set[str] = set()
    with ExitStack() as stack:
        services = [
            stack.enter_context(started(*shlex.split(example)[1:], *free_ports(example), toy="1"))
            for example in sorted({example for example in EXAMPLES if example.startswith(SERVES)})
        ]
        for service in services:
            if "up" in service.args:  # type: ignore[operator]
                names.update(table_of(service))
            else:
                assert service.stdout is not None
                names.add(service.stdout.readline().split(" is serving")[0])
            interrupt(service)

    assert {"motet: encoder", "motet: audio decoder", "motet: orchestrator", "image decoder 2"} <= names


def free_ports(example: str) -> list[str]:
    """Return options that replace the ports of an example, which another process may use."""
    return ["--port", "0"] if example.startswith("motet up") else ["--listen", "127.0.0.1:0"]


@pytest.mark.parametrize("example", sorted({example for example in EXAMPLES if example.startswith("motet bench")}))
def test_an_example_of_a_benchmark_has_valid_options(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Most benchmarks take minutes.
    _, _, name, *arguments = shlex.split(example.partition(">")[0])
    monkeypatch.chdir(ROOT)

    CONTEXTS["bench"].command.resolve_command(CONTEXTS["bench"], [name])[1].make_context(name, arguments)


@pytest.mark.parametrize("example", ["motet bench hardware", "motet bench table docs/benchmarks"])
def test_a_short_example_of_a_benchmark_works(example: str) -> None:
    assert example in EXAMPLES

    result = shell(example, ROOT)

    assert result.returncode == 0, result.stderr
