"""Tests of the commands and snippets in README.md, docs, bundles and examples: they run, or at least parse."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer

from services.cli.app import app
from tests.docs.blocks import ROOT, blocks, commands, inline_commands
from tests.services.command import CLEAN, started

SERVER = "127.0.0.1:50050"
"""The address of a server in the documents."""
MOTET = commands("motet")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of `motet up --toy`."""
    with started("up", "--toy", "--port", "0") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if match := re.search(r"orchestrator\D*(127\.0\.0\.1:\d+)", line):
                yield match[1]
                break
        process.terminate()
        process.communicate()


def run(*command: object, folder: Path, text: str = "", **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder that has the repository's examples, with settings in its environment."""
    if not (folder / "examples").exists():
        (folder / "examples").symlink_to(ROOT / "examples")
    environment = CLEAN | {"PYTHONPATH": str(ROOT)} | settings
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=environment,
        input=text,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_there_are_commands_and_snippets_to_test() -> None:
    assert len(MOTET) > 5
    assert blocks("python")


@pytest.mark.parametrize("words", [words for _, words in MOTET if words[1] in ("run", "chat", "models")], ids=str)
def test_a_command_of_the_documents_runs_with_toys(words: list[str], server: str, tmp_path: Path) -> None:
    arguments = [server if word == SERVER else word for word in words[1:]]
    toy = [] if "--server" in arguments else ["--toy"]

    done = run(sys.executable, "-P", "-m", "services", *arguments, *toy, folder=tmp_path)

    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [words for _, words in (*MOTET, *inline_commands())], ids=str)
def test_a_command_of_the_documents_has_options_that_exist(words: list[str]) -> None:
    context, rest, command = None, words[1:], typer.main.get_command(app)
    try:
        while command is not None:
            context = command.make_context(words[0], rest, parent=context)
            rest = [*context._protected_args, *context.args]
            _, command, rest = command.resolve_command(context, rest) if rest else (None, None, rest)
    except Exception as error:
        # A sentence may name a command without its arguments.
        if type(error).__name__ not in ("MissingParameter", "NoArgsIsHelpError"):
            raise


@pytest.mark.parametrize("snippet", [text for _, text in blocks("python")], ids=range(len(blocks("python"))))
def test_a_python_snippet_of_the_documents_runs_twice(snippet: str, server: str, tmp_path: Path) -> None:
    script = tmp_path / "snippet.py"
    script.write_text(snippet.replace("localhost:50050", server).replace(SERVER, server))

    for _ in range(2):
        done = run(sys.executable, script, folder=tmp_path, MOTET_SERVER=server)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_an_example_runs_twice_as_its_docstring_says(example: Path, server: str, tmp_path: Path) -> None:
    lines = [line for line in example.read_text().splitlines() if line.startswith("python examples/")]
    words = shlex.split(lines[0])

    for _ in range(2):
        done = run(sys.executable, ROOT / words[1], *words[2:], "--server", server, folder=tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert "You said" in done.stdout


def test_the_make_targets_of_the_documents_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert {words[1] for _, words in commands("make")} <= targets


def test_the_extras_of_the_documents_exist() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    used = {
        extra
        for _, words in commands("pip")
        for word in words
        for match in re.findall(r"\[([a-z,]+)\]", word)
        for extra in match.split(",")
    }

    assert used <= set(extras)


@pytest.mark.parametrize("words", [words for _, words in commands("python") if words[1] == "-m"], ids=str)
def test_a_module_of_the_documents_has_the_options_that_are_named(words: list[str]) -> None:
    spec = find_spec(words[2])
    assert spec is not None
    assert spec.origin is not None
    source = Path(spec.origin).read_text()
    options = [word for word in words[3:] if word.startswith("--")]

    # Typer makes an option of each parameter of the module's main function; argparse has it as a text.
    assert [
        option
        for option in options
        if f'"{option}"' not in source and f" {option.removeprefix('--').replace('-', '_')}: " not in source
    ] == []
