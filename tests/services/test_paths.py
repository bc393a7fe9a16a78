"""Every path of every command at its edges: one clear line, and exit code 2."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from motet.core.errors import BundleError, MediaError, RequestError
from services.cli import chat, models, protos, run, serve_commands, up
from services.cli.attachment import read_attachment
from services.cli.bench import commands as bench
from services.cli.checks.paths import check_input
from services.cli.cluster import commands as cluster
from services.cli.keys import commands as keys
from services.cli.request_options import RequestOptions
from services.cli.timeline import explain
from services.cli.top import command as top
from services.embedded import embedded
from services.encoder.service import encoder_service
from services.factory import Factory

APPS = {
    "run": run.app,
    "chat": chat.app,
    "models": models.app,
    "explain": explain.app,
    "top": top.app,
    "up": up.app,
    "serve": serve_commands.app,
    "bench": bench.app,
    "protos": protos.app,
    "keys": keys.app,
    "cluster": cluster.app,
}
IMPOSSIBLE = {
    "empty": "",
    "a null character": "a\0b",
    "a long name": "x" * 300,
    "a long path": "/".join(["x" * 200] * 30),
    "in a file": "file/x",
    "a link to itself": "loop",
}
"""Texts that name no file and no folder."""
NO_INPUT = IMPOSSIBLE | {"missing": "missing/x", "a device": "/dev/zero", "no user's folder": "~nobody-of-this-name/x"}
"""Texts that name no file or folder to read."""
NO_OUTPUT = IMPOSSIBLE | {"a read-only place": "/proc/x", "a broken link": "broken"}
"""Texts that name no file or folder to write."""
FILE = {"a file": "file"}
FOLDER = {"a folder": "folder"}

READ = NO_INPUT | FILE | FOLDER
"""Texts that no command can read: `file` has only words."""
SOME = {"empty": "", "a file": "file"}
"""Enough for a second option with the same checks."""
SCALER = ("--toy", "--scaler-listen", "127.0.0.1:0", "--tls-cert", "file", "--tls-key", "file")
# The arguments before a path, and the paths that are refused.
TABLE: list[tuple[tuple[str, ...], dict[str, str]]] = [
    (("run", "what?", "--toy", "--image"), READ),
    *((("run", "what?", "--toy", option), SOME) for option in ("--attach", "--audio", "--video")),
    (("run", "hello", "--toy", "--out"), NO_OUTPUT | FILE),
    (("chat", "--toy", "--out"), SOME),
    (("run", "hello", "--bundle"), READ),
    *(((command, "--bundle"), SOME) for command in ("chat", "models", "up")),
    (("keys", "create", "--tenant", "acme", "--file"), NO_OUTPUT | FILE | FOLDER),
    (("keys", "list", "--file"), READ),
    (("keys", "revoke", "5mz0q4h8tc2w", "--file"), READ),
    (("run", "hello", "--server", "localhost:1", "--tls-ca"), SOME | {"a device": "/dev/zero"}),
    (("run", "hello", "--server", "localhost:1", "--key-file"), {"empty": "", "missing": "missing/x"}),
    (("run", "hello", "--server", "localhost:1", "--tls-ca", "file", "--tls-key", "file", "--tls-cert"), SOME),
    *((("serve", "orchestrator", "--toy", option), SOME) for option in ("--quotas", "--keys")),
    (("serve", "orchestrator", *SCALER, "--scaler-client-ca"), SOME),
    (("serve", "encoder", "--toy", "--tls-cert", "file", "--tls-key", "file", "--tls-client-ca"), SOME),
    (("serve", "orchestrator", "--toy", "--tls-ca", "file", "--tls-worker-key", "file", "--tls-worker-cert"), SOME),
    (("serve", "encoder", "--toy", "--log-level-file"), SOME),
    *(
        (("serve", "encoder", "--toy", "--tracing-endpoint", "https://localhost:1", option), SOME)
        for option in ("--tracing-ca", "--tracing-headers")
    ),
    (("cluster", "status", "--kubeconfig"), READ),
    (("cluster", "scale", "image", "2", "--kubeconfig"), SOME),
    (("cluster", "drain", "node-a", "--kubeconfig"), SOME),
    (("cluster", "doctor", "--kubeconfig"), SOME),
    (("cluster", "doctor", "--values"), NO_INPUT | FOLDER),
    (("protos", "--out"), NO_OUTPUT | FILE),
    (("bench", "overlap", "--out"), NO_OUTPUT | FOLDER),
    (("bench", "overlap", "--plot"), NO_OUTPUT | FOLDER | {"not UTF-8": "\udce9"}),
    (("bench", "overlap", "--bundle"), SOME),
    (("run", "what?", "--toy", "--timeline"), NO_OUTPUT | FILE | FOLDER),
    (("explain", "x", "--server", "127.0.0.1:1", "--timeline"), SOME | FOLDER),
    (("top", "127.0.0.1:1", "--svg"), NO_OUTPUT | FILE | FOLDER),
    (("top", "127.0.0.1:1", "--tls-ca"), READ),
    (("top", "127.0.0.1:1", "--tls-ca", "file", "--tls-key", "file", "--tls-cert"), SOME),
    (("top", "--kubeconfig"), SOME),
    (("bench", "serve", "--trace"), READ),
    (("bench", "simulate", "--costs"), SOME | {"a device": "/dev/zero"}),
    (("bench", "llm", "--beside", "vllm", "--peer-python"), READ),
    (("bench", "all", "--out"), SOME),
    (("bench", "table"), READ),
    (("bench", "table", "folder", "--into"), READ),
]
CASES = [(arguments, edge, text) for arguments, edges in TABLE for edge, text in edges.items()]


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the current folder, with the files and links that the table names."""
    (tmp_path / "file").write_text("just words")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "broken").symlink_to("nowhere")
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MOTET_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "text"),
    [(arguments, text) for arguments, _, text in CASES],
    ids=[f"{' '.join(arguments)} ({edge})" for arguments, edge, _ in CASES],
)
def test_a_path_that_cannot_be_used_is_refused_in_one_line(places: Path, arguments: tuple[str, ...], text: str) -> None:
    before = sorted(places.rglob("*"))

    result = CliRunner().invoke(APPS[arguments[0]], [*arguments[1:], text], input="hello\n")

    lines = [line for line in result.stderr.splitlines() if line.startswith(("motet: ", "Error: "))]
    assert (result.exit_code, result.stdout, len(lines)) == (2, "", 1), result.output
    assert result.stderr.splitlines()[-1] == lines[0]
    assert sorted(places.rglob("*")) == before


@pytest.mark.parametrize("text", SOME.values(), ids=SOME)
async def test_a_service_refuses_a_folder_that_is_no_bundle(places: Path, text: str) -> None:
    service = encoder_service({"bundle": text})

    with pytest.raises(BundleError):
        async with service.open():
            pass


def parameters_of(command: Any) -> Iterator[Any]:
    """Yield the parameters of a command and of its subcommands."""
    for child in getattr(command, "commands", {}).values():
        yield from parameters_of(child)
    yield from command.params


def test_the_table_has_every_option_that_takes_a_file_or_a_folder() -> None:
    parameters = [parameter for app in APPS.values() for parameter in parameters_of(get_command(app))]
    paths = [parameter for parameter in parameters if parameter.metavar in ("FILE", "DIR", "CSV")]
    tested = {argument for arguments, _ in TABLE for argument in arguments}

    assert len(paths) > 30
    assert {parameter.opts[-1] for parameter in paths} <= tested | {"folder"}


@pytest.mark.parametrize("text", READ.values(), ids=READ)
async def test_a_chat_refuses_a_file_that_cannot_be_attached(places: Path, text: str) -> None:
    async with embedded(Factory.of_toys()) as motet:
        with pytest.raises(RequestError):
            await chat.Chat(motet, RequestOptions(), places).process(f"/attach {text}")


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_an_unreadable_file_is_refused_by_name(places: Path) -> None:
    (places / "file").chmod(0)

    with pytest.raises(RequestError, match="file cannot be read"):
        check_input(places / "file")
    with pytest.raises(MediaError, match="file cannot be read"):
        read_attachment(places / "file")
