"""`motet up`: services start, answer and stop without leaving a process."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from urllib.request import urlopen

import pytest

from motet.client import Client
from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from services.up.deployment import deployment_of
from tests.media.samples import picture_file
from tests.services.command import TIMEOUT, eventually, files_in, interrupt, motet, started, table_of
from tests.services.tracing.collector import Collector, collecting
from tests.services.up.processes import descendants, ended, process_of


@pytest.fixture
def up() -> Iterator[subprocess.Popen[str]]:
    """Yield a deployment that a test may stop."""
    with started("up", "--toy", "--port", 0) as process:
        yield process


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    """Yield the collector of the traces of `shared`."""
    with collecting() as collector:
        yield collector


@pytest.fixture(scope="module")
def shared(collector: Collector) -> Iterator[dict[str, list[str]]]:
    """Yield the addresses of a deployment that no test stops."""
    with started("up", "--toy", "--toy-delay", 0.005, "--port", 0, tracing_endpoint=collector.endpoint) as process:
        yield table_of(process)
        interrupt(process)


async def test_a_deployment_answers_and_ctrl_c_leaves_no_process(up: subprocess.Popen[str]) -> None:
    table = table_of(up)
    processes = descendants(up.pid)

    async with Client(table["orchestrator"][0]) as client:
        answer = await client.answer(GenerationRequest((Message("user", ("hello",)),), seed=1))
    _, errors = interrupt(up)

    assert answer.text.startswith("You said: hello.")
    assert len(processes) == len(table)
    assert (up.returncode, ended(processes)) == (0, True), errors


def test_a_seed_gives_the_same_bytes_embedded_remote_and_when_repeated(
    shared: dict[str, list[str]], tmp_path: Path
) -> None:
    address = shared["orchestrator"][0]
    targets = {"embedded": ["--toy"], "remote": ["--server", address], "repeated": ["--server", address]}

    for name, options in targets.items():
        result = motet("run", "hello", "--seed", 9, "--out", tmp_path / name, *options)
        assert result.returncode == 0, result.stderr

    files = [files_in(tmp_path / name) for name in targets]
    assert len(files[0]) == 3
    assert files[0] == files[1] == files[2]


def test_every_process_serves_its_own_metrics_and_no_others(shared: dict[str, list[str]]) -> None:
    own = {
        "orchestrator": "motet_generations_running",
        "encoder": "",
        "language model": "motet_llm_forwards",
        "image decoder": "motet_decoder_batch_size",
    }
    for name, (address, metrics) in shared.items():
        assert address != metrics
        with urlopen(f"http://{metrics}/metrics") as page:
            text = page.read().decode()
        assert "# TYPE motet_call_" in text
        assert f'motet_build_info{{component="{component_of(name)}",grpc=' in text
        assert 'name="toy"} 1.0' in text
        assert "motet_load_duration_seconds 0.0" not in text
        exported = {family for family in own.values() if family and f"# TYPE {family}" in text}
        assert exported == {own.get(name, "motet_decoder_batch_size")} - {""}


def component_of(name: str) -> str:
    return "decoder" if name.endswith("decoder") else {"language model": "llm"}.get(name, name)


def test_ctrl_c_at_a_remote_run_stops_the_work_of_the_server(shared: dict[str, list[str]], tmp_path: Path) -> None:
    cancelled = 'code="CANCELLED",method="/motet.internal.v1.DecoderService/Decode"'

    def decoder_reports(metric: str) -> bool:
        with urlopen(f"http://{shared['image decoder'][1]}/metrics") as page:
            return metric in page.read().decode()

    options = ("--server", shared["orchestrator"][0], "--out", tmp_path)
    with started("run", "hello", "--steps", "image=1000", *options) as run:
        assert eventually(lambda: decoder_reports("motet_calls_running 1.0"))
        interrupt(run)
        assert eventually(lambda: decoder_reports(cancelled))

    assert run.returncode == 130


def test_sigkill_leaves_no_process(up: subprocess.Popen[str]) -> None:
    table_of(up)
    processes = descendants(up.pid)

    up.kill()

    try:
        assert eventually(lambda: ended(processes))
    finally:
        for process in processes:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)


def test_decoders_run_at_low_cpu_priority(up: subprocess.Popen[str]) -> None:
    table_of(up)
    nice = min(19, os.nice(0) + 15)

    for process in descendants(up.pid):
        is_decoder = b"\0decoder\0" in Path(f"/proc/{process}/cmdline").read_bytes()
        threads = [int(thread.name) for thread in Path(f"/proc/{process}/task").iterdir()]
        levels = [os.getpriority(os.PRIO_PROCESS, thread) for thread in threads]
        # The thread that watches the parent starts earlier and only waits.
        assert levels.count(nice if is_decoder else os.nice(0)) >= len(threads) - 1
        # Linux may share CPU time between sessions, which makes niceness ineffective.
        assert os.getsid(process) == os.getsid(up.pid)


def test_without_background_decoders_run_at_normal_cpu_priority() -> None:
    deployments = [deployment_of("", 0, 1, True, 0.0, background=background) for background in (True, False)]
    in_background = [
        [worker for worker in deployment.workers().values() if "--background" in worker] for deployment in deployments
    ]
    assert [len(workers) for workers in in_background] == [len(deployments[0].manifest.signals), 0]


def test_ctrl_c_during_the_start_leaves_no_process(up: subprocess.Popen[str]) -> None:
    assert eventually(lambda: len(descendants(up.pid)) > 2)
    processes = descendants(up.pid)

    interrupt(up)

    assert (up.returncode, ended(processes)) == (0, True)


def test_a_port_in_use_is_reported_in_one_line(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]

        serve = motet("serve", "encoder", "--toy", "--listen", f"127.0.0.1:{port}")
        up = motet("up", "--toy", "--port", port)

    assert (serve.returncode, up.returncode) == (2, 2)
    assert serve.stderr.splitlines() == [
        f"motet: 127.0.0.1:{port} is in use by another process; stop it or choose another port (ADDRESS_IN_USE)"
    ]
    # No service was started for nothing.
    assert up.stderr == serve.stderr
    assert "ADDRESS_IN_USE" in up.stderr
    assert "Traceback" not in up.stderr


def test_every_example_runs_against_it(shared: dict[str, list[str]], tmp_path: Path) -> None:
    address = shared["orchestrator"][0]
    root = Path(__file__).parents[3]

    for example in sorted((root / "examples").glob("*.py")):
        result = subprocess.run(
            [sys.executable, str(example), "hello", "--server", address],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            cwd=tmp_path,
        )
        assert (result.returncode, "You said: hello." in result.stdout) == (0, True), result.stderr

    assert list(files_in(tmp_path / "answer"))


def test_replicas_have_their_own_names_and_answer(tmp_path: Path) -> None:
    with started("up", "--toy", "--port", 0, "--replicas", "image=2", "--replicas", "llm=2") as up:
        table = table_of(up)
        result = motet("run", "hello", "--only", "image", "--out", tmp_path, "--server", table["orchestrator"][0])
        interrupt(up)

    names = {"encoder", "language model", "language model 2", "image decoder", "image decoder 2"}
    assert names <= table.keys()
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("typed", ["smell=2", "image=0", "image", "image=many", "image=65"])
def test_wrong_replicas_are_refused(typed: str) -> None:
    up = motet("up", "--toy", "--port", 0, "--replicas", typed)

    assert up.returncode == 2
    assert "--replicas takes WORKER=NUMBER" in up.stderr


def test_a_job_whose_decoder_is_killed_is_repeated_by_the_restarted_decoder(tmp_path: Path) -> None:
    with started("up", "--toy", "--toy-delay", 0.02, "--port", 0) as up:
        address = table_of(up)["orchestrator"][0]
        victim = process_of(up.pid, "--modality", "image")
        steps = ("--steps", "image=100")
        with started("run", "hello", "--json", "--server", address, "--out", tmp_path, *steps) as run:
            assert run.stdout is not None
            lines = map(json.loads, iter(run.stdout.readline, ""))
            image = next(line for line in lines if line.get("modality") == "image")["part_id"]
            while not any(line["event"] == "part_progress" and line["part_id"] == image for line in lines):
                pass
            os.kill(victim, signal.SIGKILL)
            rest = list(lines)

    progress = [line["step"] for line in rest if line["event"] == "part_progress" and line["part_id"] == image]
    assert progress == sorted(set(progress)), "no step is shown twice"
    assert (rest[-1]["event"], rest[-1]["state"], rest[-1]["files"]) == ("done", "SUCCEEDED", 3)
    assert run.wait(TIMEOUT) == 0


async def test_the_processes_record_one_tree_of_a_request(shared: dict[str, list[str]], collector: Collector) -> None:
    trace_id = secrets.token_bytes(16)
    caller = {"traceparent": f"00-{trace_id.hex()}-{16 * '1'}-01"}
    async with Client(shared["orchestrator"][0], metadata=caller) as client:
        await client.answer("mix", [Media("image/png", picture_file("PNG"))])

    # A span of the root's process is sent with the last one of the others, or a little later.
    def complete() -> bool:
        arrived = [seen for seen in collector.spans if seen.span.trace_id == trace_id]
        calls = sorted(seen.service for seen in arrived if seen.name.startswith("motet.internal"))
        root = any(seen.name == "motet.v1.GenerationService/Generate" for seen in arrived)
        return root and calls == [*4 * ["decoder"], "encoder", "llm"]

    assert await asyncio.to_thread(eventually, complete)
    tree = collector.tree(trace_id)
    assert tree.startswith("motet.v1.GenerationService/Generate\n  admission\n    probe\n  invoke_workflow toy\n")
    mix = next(seen for seen in collector.named("generate_content toy/mix") if seen.span.trace_id == trace_id)
    assert len(mix.span.links) == 3
