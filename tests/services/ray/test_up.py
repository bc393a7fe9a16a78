"""Tests of `motet up --ray` with a real cluster of Ray on this machine."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

import pytest

from motet.client import Client
from motet.core.events import State
from motet.core.request import GenerationRequest, Message
from tests.services.command import files_in, interrupt, motet, started, table_of
from tests.services.ray.on_request import needs_ray
from tests.services.test_listeners import listeners, tree

pytestmark = [needs_ray, pytest.mark.timeout(900)]

APPLICATIONS = ("encoder", "llm", "image", "audio", "video", "mix")
PROMPT = "Draw an image, play an audio and make a video."


def replicas(processes: set[int], application: str) -> list[int]:
    """Return the processes of an application's replicas."""
    title = f"ray::ServeReplica:{application}:".encode()
    return [process for process in processes if Path(f"/proc/{process}/cmdline").read_bytes().startswith(title)]


async def test_a_deployment_in_ray_answers_as_one_process_does_and_survives_its_replicas(tmp_path: Path) -> None:
    with started("up", "--toy", "--ray", "--port", "0", "--toy-delay", "0.02", "--replicas", "llm=2") as up:
        table = table_of(up)
        assert list(table) == ["orchestrator"]
        address = table["orchestrator"][0]
        processes = tree(up.pid)

        motet("run", PROMPT, "--toy", "--seed", "1", "--out", tmp_path / "embedded")
        motet("run", PROMPT, "--server", address, "--seed", "1", "--out", tmp_path / "ray")
        media = files_in(tmp_path / "ray")
        assert len(media) == 3
        assert media == files_in(tmp_path / "embedded")

        open_to_all = {each for each in listeners(processes) if not each.startswith(("127.0.0.1:", "unix"))}
        # One port of each replica, which refuses calls without the token.
        assert {each.rpartition(":")[0] for each in open_to_all} == {"::"}
        assert len(open_to_all) == sum(len(replicas(processes, f"motet-{key}")) for key in APPLICATIONS)

        request = GenerationRequest((Message("user", (PROMPT,)),), seed=1)
        async with Client(address) as client:
            answers = asyncio.gather(*(client.answer(request) for _ in range(6)))
            await asyncio.sleep(0.5)
            for application in ("motet-llm", "motet-image"):
                os.kill(replicas(processes, application)[0], signal.SIGKILL)
            assert [answer.generation.state for answer in await answers] == [State.SUCCEEDED] * 6

            # Ctrl-C lets the running generation end, before the cluster does.
            running = asyncio.create_task(client.answer(request))
            await asyncio.sleep(0.2)
            _, errors = await asyncio.to_thread(interrupt, up)
            assert (await running).generation.state is State.SUCCEEDED

    assert up.returncode == 0, errors
    assert not processes & set(map(int, filter(str.isdigit, os.listdir("/proc"))))
