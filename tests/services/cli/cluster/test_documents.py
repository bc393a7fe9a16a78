"""The examples and the documented rights of `motet cluster`, compared with a double of an API server."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import pytest

from services.cli import commands
from tests.services.cli.cluster.cluster_double import set_ready
from tests.services.cli.cluster.installed import Installed

PAGE = Path(__file__).parents[4] / "docs" / "kubernetes.md"
RIGHTS = re.compile(r"`([a-z]+) ([a-zA-Z/]+)(?:\.([a-z0-9.]+))?`")
EXAMPLES = sorted(
    {
        example
        for path, examples in tomllib.loads(Path(commands.__file__).with_name("examples.toml").read_text()).items()
        for example in examples
        if path.startswith("cluster")
    }
)
RUNS = {
    "status": (("status",),),
    "scale": (("scale", "image", "2", "--wait"),),
    "drain": (("drain", "node-c"),),
}


def documented(command: str) -> set[tuple[str, str, str]]:
    """Return the verb, the group and the resource of each right that the page lists for a command."""
    row = next(line for line in PAGE.read_text().splitlines() if line.startswith(f"| rights of `{command}`"))
    return {(verb, group, resource) for verb, resource, group in RIGHTS.findall(row.split("|")[2])}


@pytest.mark.parametrize("example", EXAMPLES)
async def test_an_example_works(installed: Installed, example: str) -> None:
    installed.add_nodes()
    installed.double.after_patch = lambda path, patched: set_ready(patched) if "deployments" in path else None

    result = await installed.run(*shlex.split(example)[2:])

    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("command", RUNS)
async def test_the_documented_rights_are_exactly_the_calls(installed: Installed, command: str) -> None:
    installed.add_nodes()
    installed.start_pods_slowly("image")

    for arguments in RUNS[command]:
        result = await installed.run(*arguments)
        assert result.exit_code == 0, result.output

    assert documented(command) == set(installed.double.calls)
