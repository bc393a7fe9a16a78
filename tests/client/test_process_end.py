"""The blocking client at the end of a process, after a fork, and after it was closed."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from motet.client import Client, SyncClient
from motet.core.errors import CancelledError, RequestError
from motet.core.request import GenerationRequest, Message
from tests.scripted_motet import PICTURE, ScriptedMotet, done, serving, text_part
from tests.waiting import until

ASK = GenerationRequest((Message("user", ("hi",)),))
SETUP = """
import os, sys, threading
from motet.client import SyncClient
from motet.core.errors import MotetError
from motet.core.request import GenerationRequest, Message

address = sys.argv[1]
request = GenerationRequest((Message("user", ("hi",)),))
"""
ENDS = {
    "an open stream": "events = SyncClient(address).generate(request); next(events)",
    "a broken loop": "for event in SyncClient(address).generate(request): break",
    "an exit in a loop": "with SyncClient(address) as client:\n    for event in client.generate(request): sys.exit()",
    "an exception": "client = SyncClient(address)\nfor event in client.generate(request): raise SystemExit(0)",
    "a reference cycle": "node = [SyncClient(address).generate(request)]\nnode.append(node); next(node[0])",
    "many clients": "for _ in range(8):\n    with SyncClient(address) as client: next(client.generate(request))",
    "no call": "client = SyncClient(address)",
    "a tidy end": "with SyncClient(address) as client: client.models()",
}
FORKS = """
client = SyncClient(address)
events = client.generate(request)
next(events)
child = os.fork()
if child == 0:
    for use in (client.models, lambda: next(events), lambda: SyncClient(address)):
        try:
            use()
        except MotetError as error:
            print(error.message[:10], flush=True)
    client.close()
    # gRPC itself cannot be finalized in the child. `multiprocessing` ends its children in this way, too.
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), len(client.models()))
"""


@pytest.fixture
async def endless() -> AsyncIterator[ScriptedMotet]:
    """A server of a generation that does not end."""
    scripted = ScriptedMotet(asyncio.Event(), done())
    async with serving(scripted) as server:
        scripted.address = server.address  # type: ignore[attr-defined]
        yield scripted


async def run_script(script: str, scripted: ScriptedMotet) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own."""
    command = [sys.executable, "-c", SETUP + script, scripted.address]  # type: ignore[attr-defined]
    return await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=90)


@pytest.mark.parametrize("end", ENDS)
async def test_a_script_ends_in_silence_whatever_is_open(end: str, endless: ScriptedMotet) -> None:
    result = await run_script(ENDS[end], endless)

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    await until(lambda: endless.cancelled_streams == len(endless.requests))


async def test_a_forked_process_is_refused_and_its_parent_continues(endless: ScriptedMotet) -> None:
    result = await run_script(FORKS, endless)

    assert result.stdout.splitlines() == ["gRPC was i"] * 3 + ["7 1"]
    assert result.returncode == 0
    assert "Traceback" not in result.stderr


async def test_a_closed_client_is_refused(endless: ScriptedMotet) -> None:
    address = endless.address  # type: ignore[attr-defined]

    def use_closed() -> None:
        with SyncClient(address) as client:
            events = client.generate(ASK)
            next(events)
        for use in (client.models, lambda: client.upload(PICTURE), lambda: next(client.generate(ASK))):
            with pytest.raises(RequestError, match="the client is closed"):
                use()
        events.close()
        client.close()

    await asyncio.to_thread(use_closed)
    async with Client(address) as client:
        pass
    with pytest.raises(RequestError, match="the client is closed"):
        await client.models()
    with pytest.raises(RequestError, match="the client is closed"):
        await anext(client.generate(ASK))


async def test_closing_a_client_ends_the_calls_of_other_threads(endless: ScriptedMotet) -> None:
    client = SyncClient(endless.address)  # type: ignore[attr-defined]
    call = asyncio.create_task(asyncio.to_thread(client.answer, ASK))
    await until(lambda: len(endless.requests) == 1)

    await asyncio.to_thread(client.close)

    with pytest.raises(CancelledError):
        await call


async def test_a_stream_may_be_collected_as_garbage_in_the_clients_own_thread() -> None:
    scripted = ScriptedMotet(*text_part(0, "hi"), asyncio.Event(), done())

    async def collect() -> None:
        gc.collect()

    def use(address: str) -> None:
        with SyncClient(address) as client:
            cycle = [client.generate(ASK)]
            cycle.append(cycle)  # type: ignore[arg-type]
            next(cycle[0])
            del cycle
            client._thread.run(collect())

    async with serving(scripted) as server:
        await asyncio.to_thread(use, server.address)
        await until(lambda: scripted.cancelled_streams == 1)
