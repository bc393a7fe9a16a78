"""`motet top` for a running `motet up` and at addresses, as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from services.cli.commands import examples_of
from services.cli.top.command import app
from services.exit_codes import Exit
from tests.services.command import CLEAN, COMMAND, TIMEOUT, interrupt, motet, started, table_of

Table = dict[str, list[str]]
QUICK = ("--interval", "0.1")


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yield the runtime folder of the user, for all commands of this module."""
    folder = tmp_path_factory.mktemp("runtime")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CLEAN, "XDG_RUNTIME_DIR", str(folder))
        patch.setenv("XDG_RUNTIME_DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def up(runtime: Path) -> Iterator[Table]:
    """Yield the addresses of a deployment, whose metrics have ports in a row."""
    port = free_ports(7)
    with started("up", "--toy", "--port", 0, "--metrics-port", port) as process:
        table = table_of(process)
        assert [metrics for _, metrics in table.values()] == [f"127.0.0.1:{port + each}" for each in range(len(table))]
        yield table
        interrupt(process)
    assert list((runtime / "motet").iterdir()) == [], "the file of a deployment ends with it"


def free_ports(count: int) -> int:
    """Return the first of some ports in a row that are free now."""
    for first in range(21_000 + os.getpid() % 5_000, 32_000, count):
        sockets: list[socket.socket] = []
        try:
            sockets += (socket.create_server(("127.0.0.1", first + number)) for number in range(count))
            return first
        except OSError:
            continue
        finally:
            for each in sockets:
                each.close()
    raise AssertionError("there are no free ports in a row")


def top(*arguments: object) -> Result:
    """Run `motet top` to its end in this process, with a short interval."""
    return CliRunner().invoke(app, [*QUICK, *map(str, arguments)])


def test_a_running_deployment_is_found_and_shown(up: Table) -> None:
    line = json.loads(top("--once", "--json").stdout)

    assert [process["name"] for process in line["processes"]] == list(up)
    assert {process["state"] for process in line["processes"]} == {"serving"}
    assert [process["address"] for process in line["processes"]] == [metrics for _, metrics in up.values()]
    components = [process["component"] for process in line["processes"]]
    assert components[:3] == ["orchestrator", "encoder", "llm"]
    assert {pool["pool"]: pool["replicas_by_state"] for pool in line["pools"]}["image"] == {"ready": 1}
    assert line["totals"]["output_tokens_per_second"] is not None
    assert all(process["memory_bytes"] > 1e6 for process in line["processes"])
    assert all(process["cpu_cores"] >= 0 for process in line["processes"])
    assert [row["modality"] for row in line["modalities"]][:2] == ["text", "audio"]


def test_work_has_rates(up: Table, tmp_path: Path) -> None:
    with started("top", *QUICK, "--json") as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert motet("run", "hello", "--server", up["orchestrator"][0], "--out", tmp_path).returncode == 0
        # The tokens and the picture may be in different readings.
        seen = {"tokens": 0.0, "image": 0.0}
        while not all(seen.values()):
            line = json.loads(process.stdout.readline())
            media = {row["modality"]: row["media_per_second"] for row in line["modalities"]}
            seen["tokens"] += line["totals"]["output_tokens_per_second"] or 0.0
            seen["image"] += media["image"] or 0.0
        interrupt(process)

    assert process.returncode == Exit.INTERRUPTED


@pytest.mark.parametrize("example", examples_of("top"))
def test_an_example_works(up: Table, example: str) -> None:
    metrics = iter(metrics for _, metrics in up.values())
    words = [next(metrics) if word.startswith("127.0.0.1") else word for word in shlex.split(example)[1:]]

    done = top(*words[1:])

    assert (done.exit_code, done.stderr) == (0, "")
    assert "orchestrator" in done.stdout


def test_a_pipe_gets_one_reading_as_tables(up: Table) -> None:
    done = top()

    assert done.stdout.count("processes answer") == 1
    assert "\x1b" not in done.stdout
    assert "image decoder" in done.stdout


def test_a_picture_has_the_same_tables(up: Table, tmp_path: Path) -> None:
    assert top("--svg", tmp_path / "top.svg").exit_code == 0

    assert "image&#160;decoder" in (tmp_path / "top.svg").read_text()


def test_the_exit_code_says_how_many_processes_answered(up: Table) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        away = f"127.0.0.1:{listener.getsockname()[1]}"

    some = top(up["encoder"][1], away, "--once")
    none = top(away, "--once")

    assert (some.exit_code, none.exit_code) == (Exit.PARTIAL, Exit.UNAVAILABLE)
    assert f"{away}: refuses connections" in some.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_terminal_shows_readings_until_a_signal_and_is_restored(up: Table, number: signal.Signals) -> None:
    ours, theirs = pty.openpty()
    environment = CLEAN | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    process = subprocess.Popen(
        [*COMMAND, "top", *QUICK], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, start_new_session=True
    )
    os.close(theirs)
    shown = b""
    while shown.count(b"processes answer") < 2:
        shown += os.read(ours, 65_536)
    process.send_signal(number)
    try:
        while data := os.read(ours, 65_536):
            shown += data
    except OSError:  # The other end is closed.
        pass
    os.close(ours)

    assert process.wait(TIMEOUT) == Exit.INTERRUPTED
    for on, off in ((b"\x1b[?1049h", b"\x1b[?1049l"), (b"\x1b[?25l", b"\x1b[?25h")):
        assert shown.rfind(off) > shown.rfind(on) >= 0


def test_without_a_deployment_the_command_says_what_to_name(runtime: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime / "missing"))
    monkeypatch.setenv("XDG_STATE_HOME", str(runtime / "missing"))

    done = top("--once")

    assert (done.exit_code, done.stdout) == (Exit.REFUSED, "")
    assert "start it, name the addresses of metrics" in done.stderr


def test_one_of_several_deployments_is_selected_by_its_port(up: Table) -> None:
    port = int(up["orchestrator"][0].rpartition(":")[2])

    assert top("--port", port, "--once").exit_code == 0
    wrong = top("--port", 1, "--once")
    assert (wrong.exit_code, f"set --port to one of {port}" in wrong.stderr) == (Exit.REFUSED, True)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["127.0.0.1:1", "--port", "5"], "--port"),
        (["127.0.0.1:1", "--release", "x"], "--release"),
        (["--namespace", "x", "--port", "5"], "--port"),
        (["--context", "x", "--tls-ca", "x"], "--tls-ca"),
        (["--tls-ca", "x"], "addresses"),
        (["127.0.0.1:1", "--svg", "x.svg", "--json"], "--svg"),
        (["127.0.0.1:1", "--interval", "0"], "interval"),
        (["localhost"], "HOST:PORT"),
    ],
)
def test_options_that_contradict_each_other_are_refused(arguments: list[str], named: str) -> None:
    result = top(*arguments)

    assert result.exit_code == Exit.REFUSED
    assert named in result.stderr
