"""Tests of the programs in examples/clients: they do in other languages what the Python client does.

The Node program runs if `make test` could install its packages; with CI set, it must. The Go program runs if GO_CLIENT
names its executable.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from motet.core.errors import FaultError, OverloadedError
from motet.core.events import Event, PartFailed, PartStarted, State
from motet.core.media import Media
from motet.core.request import GenerationRequest
from motet.protos import write_protos
from motet.transport.server import Server
from motet.transport.tls.certificates import TlsFiles
from motet.transport.tls.reload import ReloadedCertificates
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer
from services.up.certificate_authority import CertificateAuthority
from tests.callers import for_anyone
from tests.docs.blocks import ROOT, blocks
from tests.scripted_motet import PICTURE, ScriptedMotet, done, media_part, text_part
from tests.transport.access.keys import KeyRing

CLIENTS = ROOT / "examples" / "clients"
MODULES = ROOT / ".venv" / "node" / "node_modules"
TIMEOUT = 40.0


class Busy(ScriptedMotet):
    """A scripted `Motet` that refuses the first request."""

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        if not self.requests:
            self.requests.append(request)
            raise OverloadedError("the queue is full", retry_after=0.01)
        async for event in super().generate(request):
            yield event


@dataclass(frozen=True)
class Result:
    code: int
    output: str
    errors: str
    files: dict[str, bytes]


@dataclass(frozen=True)
class Program:
    """A client in another language, a folder with the protos, and a server with TLS that requires a key."""

    command: Sequence[str | Path]
    folder: Path
    address: str
    authority: Path
    key: str

    async def run(self, *arguments: str | Path, key: str | None = None, tls: bool = True) -> Result:
        """Run the program with a prompt and files."""
        options = ["--server", self.address, "--out", self.folder / "media"]
        options += ["--tls-ca", self.authority] if tls else []
        process = await asyncio.create_subprocess_exec(
            *self.command,
            *options,
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=self.folder,
            env={"PATH": os.environ["PATH"], "MOTET_API_KEY": self.key if key is None else key},
        )
        output, errors = await asyncio.wait_for(process.communicate(), TIMEOUT)
        files = {path.name: path.read_bytes() for path in (self.folder / "media").glob("*")}
        assert process.returncode is not None
        return Result(process.returncode, output.decode(), errors.decode(), files)


def node(folder: Path) -> list[str | Path]:
    """Return the command of the Node program."""
    program = shutil.which("node")
    if program is None or not MODULES.is_dir():
        if os.environ.get("CI"):
            pytest.fail("node or its packages are missing: run `make test`, which installs the packages")
        pytest.skip("node or its packages are missing")
    shutil.copy(CLIENTS / "node" / "generate.js", folder)
    shutil.copy(CLIENTS / "node" / "package.json", folder)
    (folder / "node_modules").symlink_to(MODULES)
    return [program, "generate.js"]


def go(folder: Path) -> list[str | Path]:
    """Return the command of the Go program."""
    if not (program := os.environ.get("GO_CLIENT")):
        pytest.skip("GO_CLIENT does not name the executable of examples/clients/go")
    return [Path(program).resolve()]


@pytest.fixture(params=[node, go], ids=["node", "go"])
def command(request: pytest.FixtureRequest, tmp_path: Path) -> list[str | Path]:
    write_protos(tmp_path / "protos")
    create: Callable[[Path], list[str | Path]] = request.param
    return create(tmp_path)


@asynccontextmanager
async def serving(motet: ScriptedMotet, command: list[str | Path], folder: Path) -> AsyncIterator[Program]:
    """Serve a scripted `Motet` with TLS and keys, and yield the program."""
    authority, keys = CertificateAuthority(folder), KeyRing()
    key = keys.key_of("acme")
    certificates = ReloadedCertificates(TlsFiles(authority.issue("server"), None), "client_ca")
    server = Server(
        [GenerationServicer(for_anyone(motet)), ArtifactServicer(for_anyone(motet))],
        credentials=certificates.server_credentials(),
        authentication=keys.authentication(),
    )
    async with server:
        port = server.address.rpartition(":")[2]
        yield Program(command, folder, f"localhost:{port}", authority.certificate, key)


async def test_a_client_sends_a_picture_streams_the_text_and_saves_all_media(
    command: list[str], tmp_path: Path
) -> None:
    large = Media("image/png", b"large" * 300_000)
    parts = [*text_part(0, "A turtle\x1b[2J."), *media_part(1, PICTURE), *media_part(2, large, inline=False), done()]
    motet = ScriptedMotet(*parts)
    await motet.upload(large)

    async with serving(motet, command, tmp_path) as program:
        result = await program.run("What is this?", ROOT / "examples" / "turtle.png")

    assert (result.code, result.errors) == (0, "")
    assert "A turtle\\u{1b}[2J." in result.output
    assert result.files == {"01.png": PICTURE.data, "02.png": large.data}
    (request,) = motet.requests
    assert [turn.parts[1].data for turn in request.turns] == [(ROOT / "examples" / "turtle.png").read_bytes()]


async def test_a_client_repeats_a_refused_request_after_the_delay(command: list[str], tmp_path: Path) -> None:
    motet = Busy(*text_part(0, "Hello."), done())

    async with serving(motet, command, tmp_path) as program:
        result = await program.run("hello")

    assert (result.code, len(motet.requests)) == (0, 2)
    assert motet.requests[0].request_id == motet.requests[1].request_id != ""
    assert "again in 0.0 s" in result.errors


async def test_a_client_shows_the_reason_of_an_error(command: list[str], tmp_path: Path) -> None:
    async with serving(ScriptedMotet(done()), command, tmp_path) as program:
        result = await program.run("hello", key="motet_x")

    assert result.code == 1
    assert "the credentials are not valid" in result.errors
    assert "reason CREDENTIALS_INVALID" in result.errors
    assert "request id " in result.errors


async def test_a_client_reports_a_part_that_failed(command: list[str], tmp_path: Path) -> None:
    failed = [PartStarted("p", 0, "image", "image/png", 0, "a cat"), PartFailed("p", FaultError("the decoder failed"))]
    motet = ScriptedMotet(*failed, done(State.PARTIAL))

    async with serving(motet, command, tmp_path) as program:
        result = await program.run("hello")

    assert result.code == 3
    assert "[a part failed: the decoder failed]" in result.output


async def test_a_client_sends_no_key_without_tls(command: list[str], tmp_path: Path) -> None:
    async with serving(ScriptedMotet(done()), command, tmp_path) as program:
        result = await program.run("hello", tls=False)

    assert result.code in (1, 2)
    assert "TLS" in result.errors or "transport level security" in result.errors


@pytest.mark.parametrize(("language", "program"), [("js", "node/generate.js"), ("go", "go/main.go")])
def test_an_excerpt_in_the_documents_is_a_part_of_the_program(language: str, program: str) -> None:
    text = (CLIENTS / program).read_text()
    excerpts = [excerpt for _, excerpt in blocks(language)]

    assert excerpts
    assert [excerpt for excerpt in excerpts if excerpt not in text] == []
