"""The examples and the Python code of the documents, against a server of toys."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from motet.transport.server import Server
from services.embedded import embedded
from services.factory import Factory
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer, ModelServicer

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "docs/clients.md")
EXAMPLES = {
    "ask.py": ["What is this?", str(ROOT / "examples/turtle.png")],
    "concurrent_requests.py": ["one", "two"],
    "stream.py": ["Show me a picture."],
}


@pytest.fixture
async def server() -> AsyncIterator[str]:
    async with embedded(Factory.of_toys()) as motet:
        servicers = [GenerationServicer(motet), ArtifactServicer(motet), ModelServicer(motet)]
        async with Server(servicers, address="127.0.0.1:0") as server:
            yield server.address


async def run(server: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder, with the server in the environment."""
    command = [sys.executable, *arguments]
    environment = os.environ | {"MOTET_SERVER": server, "PYTHONPATH": str(ROOT)}
    return await asyncio.to_thread(
        subprocess.run, command, cwd=folder, env=environment, capture_output=True, text=True, timeout=50
    )


@pytest.mark.parametrize("example", EXAMPLES)
async def test_an_example_runs_twice(example: str, server: str, tmp_path: Path) -> None:
    for _ in range(2):
        result = await run(server, tmp_path, str(ROOT / "examples" / example), *EXAMPLES[example])

        assert (result.returncode, result.stderr) == (0, "")
        assert "You said" in result.stdout


def test_every_example_is_tested() -> None:
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == EXAMPLES.keys()


@pytest.mark.parametrize("document", DOCUMENTS)
async def test_the_code_of_a_document_runs_twice(document: str, server: str, tmp_path: Path) -> None:
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.DOTALL | re.MULTILINE)
    program = "\n".join(blocks).replace('"localhost:50050"', "")

    for _ in range(2):
        result = await run(server, tmp_path, "-c", program)

        assert (result.returncode, result.stderr) == (0, "")
    assert "You said" in result.stdout


def test_every_document_with_python_code_is_tested() -> None:
    documents = [path for folder in (".", "docs") for path in sorted((ROOT / folder).glob("*.md"))]

    assert {path.relative_to(ROOT).as_posix() for path in documents if "```python" in path.read_text()} == {*DOCUMENTS}
