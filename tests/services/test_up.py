"""All services as processes: they come up together, answer, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from motet.client import Client
from motet.core.request import GenerationRequest, Message
from services.up import deployment_of
from tests.services.command import PATIENCE, eventually, files_in, interrupted, motet, started, table_of


def descendants(process: int) -> list[int]:
    """The processes that a process started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [int(child) for child in children]


def gone(processes: list[int]) -> bool:
    return not any(Path(f"/proc/{process}").exists() for process in processes)


@pytest.fixture
def up() -> Iterator[subprocess.Popen[str]]:
    """One that a test may end as it likes."""
    with started("up", "--toy", "--port", 0) as process:
        yield process


@pytest.fixture(scope="module")
def lasting() -> Iterator[dict[str, list[str]]]:
    """Where the services of one are that no test ends."""
    with started("up", "--toy", "--toy-delay", 0.005, "--port", 0) as process:
        yield table_of(process)
        interrupted(process)


async def test_it_answers_and_ctrl_c_leaves_no_process(up: subprocess.Popen[str]) -> None:
    table = table_of(up)
    processes = descendants(up.pid)

    async with Client(table["orchestrator"][0]) as client:
        answer = await client.answer(GenerationRequest((Message("user", ("hello",)),), seed=1))
    _, errors = interrupted(up)

    assert answer.text.startswith("You said: hello.")
    assert len(processes) == len(table)
    assert (up.returncode, gone(processes)) == (0, True), errors


def test_the_same_seed_makes_the_same_bytes_here_there_and_twice_in_a_row(
    lasting: dict[str, list[str]], tmp_path: Path
) -> None:
    address = lasting["orchestrator"][0]
    hows = {"here": ["--toy"], "there": ["--server", address], "again": ["--server", address]}

    for name, how in hows.items():
        ran = motet("run", "hello", "--seed", 9, "--out", tmp_path / name, *how)
        assert ran.returncode == 0, ran.stderr

    made = [files_in(tmp_path / name) for name in hows]
    assert len(made[0]) == 3
    assert made[0] == made[1] == made[2]


def test_every_process_shows_its_metrics(lasting: dict[str, list[str]]) -> None:
    for address, metrics in lasting.values():
        assert address != metrics
        with urlopen(f"http://{metrics}/metrics") as page:
            assert "motet_call_" in page.read().decode()


def test_ctrl_c_at_a_remote_run_stops_the_work_there(lasting: dict[str, list[str]], tmp_path: Path) -> None:
    def working() -> bool:
        with urlopen(f"http://{lasting['image decoder'][1]}/metrics") as page:
            return b"motet_calls_running 1.0" in page.read()

    where = ("--server", lasting["orchestrator"][0], "--out", tmp_path)
    with started("run", "hello", "--steps", "image=1000", *where) as run:
        assert eventually(working)
        begun = time.monotonic()
        interrupted(run)
        assert eventually(lambda: not working())

    assert run.returncode == 130
    # All thousand steps would have taken five seconds.
    assert time.monotonic() - begun < 4


def test_a_service_that_dies_is_named_and_takes_the_others_along(up: subprocess.Popen[str]) -> None:
    table_of(up)
    processes = descendants(up.pid)

    os.kill(processes[0], signal.SIGKILL)
    _, errors = up.communicate(timeout=PATIENCE)

    assert "motet: encoder was killed by signal 9" in errors
    assert (up.returncode, gone(processes)) == (1, True)


def test_killed_outright_it_still_leaves_no_process(up: subprocess.Popen[str]) -> None:
    table_of(up)
    processes = descendants(up.pid)

    up.kill()

    try:
        assert eventually(lambda: gone(processes))
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def test_decoders_leave_the_processors_to_the_others(up: subprocess.Popen[str]) -> None:
    table_of(up)
    nice = min(19, os.nice(0) + 15)

    for process in descendants(up.pid):
        decodes = b"\0decoder\0" in Path(f"/proc/{process}/cmdline").read_bytes()
        threads = [int(thread.name) for thread in Path(f"/proc/{process}/task").iterdir()]
        levels = [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads]
        # All but the leash, which is there before and only waits.
        assert levels.count(nice if decodes else os.nice(0)) >= len(threads) - 1
        # Linux may share processors among sessions first, whatever their processes are.
        assert os.getsid(process) == os.getsid(up.pid)


def test_decoders_are_as_others_where_that_is_asked_for() -> None:
    deployments = [deployment_of("", 0, 1, True, 0.0, background=background) for background in (True, False)]
    told = [
        [worker for worker in deployment.workers().values() if "--background" in worker] for deployment in deployments
    ]
    assert [len(each) for each in told] == [3, 0]


def test_ctrl_c_before_all_are_up_leaves_no_process(up: subprocess.Popen[str]) -> None:
    assert eventually(lambda: len(descendants(up.pid)) > 2)
    processes = descendants(up.pid)

    interrupted(up)

    assert (up.returncode, gone(processes)) == (0, True)


def test_a_port_in_use_is_told_in_one_line_and_nothing_is_left(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]

        served = motet("serve", "encoder", "--toy", "--listen", f"127.0.0.1:{port}")
        upped = motet("up", "--toy", "--port", port)

    assert (served.returncode, upped.returncode) == (2, 2)
    assert served.stderr.splitlines() == [
        f"motet: 127.0.0.1:{port} is in use by another process; stop it or choose another port (ADDRESS_IN_USE)"
    ]
    assert "ADDRESS_IN_USE" in upped.stderr
    assert "Traceback" not in upped.stderr


def test_every_example_runs_against_it(lasting: dict[str, list[str]], tmp_path: Path) -> None:
    address = lasting["orchestrator"][0]
    root = Path(__file__).parents[2]

    for example in sorted((root / "examples").glob("*.py")):
        ran = subprocess.run(
            [sys.executable, str(example), "hello", "--server", address],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            cwd=tmp_path,
        )
        assert (ran.returncode, "You said: hello." in ran.stdout) == (0, True), ran.stderr

    assert list(files_in(tmp_path / "answer"))


def test_replicas_come_up_under_names_of_their_own_and_answer(tmp_path: Path) -> None:
    with started("up", "--toy", "--port", 0, "--replicas", "image=2", "--replicas", "llm=2") as up:
        table = table_of(up)
        ran = motet("run", "hello", "--only", "image", "--out", tmp_path, "--server", table["orchestrator"][0])
        interrupted(up)

    names = {"encoder", "language model", "language model 2", "image decoder", "image decoder 2"}
    assert names <= table.keys()
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("typed", ["smell=2", "image=0", "image", "image=many", "image=65"])
def test_replicas_of_nothing_are_refused(typed: str) -> None:
    upped = motet("up", "--toy", "--port", 0, "--replicas", typed)

    assert upped.returncode == 2
    assert "--replicas takes WORKER=NUMBER" in upped.stderr


def test_a_decoder_that_dies_midway_costs_its_own_part_alone(tmp_path: Path) -> None:
    with started("up", "--toy", "--toy-delay", 0.02, "--port", 0) as up:
        address = table_of(up)["orchestrator"][0]
        victim = next(
            process
            for process in descendants(up.pid)
            if b"--modality\0image\0" in Path(f"/proc/{process}/cmdline").read_bytes()
        )
        steps = ("--steps", "image=1000", "--steps", "audio=80", "--steps", "video=80")
        with started("run", "hello", "--json", "--server", address, "--out", tmp_path, *steps) as run:
            assert run.stdout is not None
            lines = map(json.loads, iter(run.stdout.readline, ""))
            image = next(line for line in lines if line.get("modality") == "image")["part_id"]
            while not any(line["event"] == "part_progress" and line["part_id"] == image for line in lines):
                pass
            os.kill(victim, signal.SIGKILL)
            rest = list(lines)

    failed = [line for line in rest if line["event"] == "part_failed"]
    assert [(line["part_id"], line["reason"]) for line in failed] == [(image, "WORKER_LOST")]
    assert (rest[-1]["event"], rest[-1]["state"], rest[-1]["files"]) == ("done", "PARTIAL", 2)
    assert run.wait(PATIENCE) == 3
