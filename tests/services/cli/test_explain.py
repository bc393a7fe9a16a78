"""`motet explain` and `motet run --timeline`: as a table, as JSON, and as a picture."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from motet.client import Client
from motet.toys.workers import Pause, ToyDecoder, ToyEncoder, ToyLanguageModel
from motet.transport.server import Server
from orchestrator.orchestrator import Orchestrator
from orchestrator.settings import OrchestratorSettings
from services.cli.run import app as run_app
from services.cli.timeline.explain import app as explain_app
from services.cli.timeline.explain import read_timeline
from services.exit_codes import Exit
from services.orchestrator.pools import pooled_workers
from services.orchestrator.servicer import ArtifactServicer, GenerationServicer
from tests.orchestrator.pipeline_harness import DIGEST, MANIFEST, probe, request_of, script_of, signal_run
from tests.transport.serving import BlockedDecoder, served
from tests.waiting import until

SCRIPT = script_of("An a: ", signal_run("a"), ".")


class Deployment:
    """An orchestrator with two replicas of a decoder, all behind gRPC."""

    def __init__(self, client: Client, address: str) -> None:
        self.client = client
        self.address = address

    async def explain(self, *arguments: object) -> Result:
        """Run `motet explain` with this server."""
        words = [*map(str, arguments), "--server", self.address]
        return await asyncio.to_thread(CliRunner().invoke, explain_app, words)

    async def explain_as_json(self, name: str) -> Any:
        """Return the object that `motet explain --json` prints."""
        return json.loads((await self.explain(name, "--json")).stdout)


async def deployment_of(stack: AsyncExitStack, *decoders: Any, script: Any = SCRIPT) -> Deployment:
    worker, _ = await stack.enter_async_context(served(ToyEncoder(), ToyLanguageModel(MANIFEST.grammar, script)))
    replicas = [(await stack.enter_async_context(served(decoder)))[0].address for decoder in decoders]
    settings = OrchestratorSettings(
        encoder=worker.address, language_model=worker.address, decoders={"a": tuple(replicas)}
    )
    workers = await pooled_workers(settings, MANIFEST, stack)
    motet = await stack.enter_async_context(Orchestrator(workers, MANIFEST, DIGEST, settings, probe))
    server = await stack.enter_async_context(
        Server([GenerationServicer(motet.for_caller), ArtifactServicer(motet.for_caller)])
    )
    await until(lambda: motet.availability.outputs["a"])
    return Deployment(await stack.enter_async_context(Client(server.address)), server.address)


@pytest.fixture
async def deployment() -> AsyncIterator[Deployment]:
    async with AsyncExitStack() as stack:
        yield await deployment_of(stack, ToyDecoder("a"), ToyDecoder("a"))


async def test_a_finished_generation_is_explained_by_its_server(deployment: Deployment) -> None:
    record = (await deployment.client.answer(request_of())).generation

    explained = await deployment.explain_as_json(record.name)
    table = await deployment.explain(record.name.removeprefix("generations/"))

    model, part = explained["nodes"]
    assert (explained["generation"], explained["state"]) == (record.name, "SUCCEEDED")
    assert (model["name"], model["replica"], model["attempts"]) == ("llm", 0, 1)
    assert part["name"] == "a (part-1)"
    assert part["replica"] in (0, 1)
    assert part["source"] == "worker"
    assert explained["overhead"] == pytest.approx(explained["elapsed"] - explained["critical_seconds"])
    assert table.exit_code == Exit.OK
    assert "* llm" in table.stdout
    assert f"done, replica {part['replica']}" in table.stdout
    assert "127.0.0.1" not in table.stdout


async def test_cached_media_are_marked(deployment: Deployment) -> None:
    await deployment.client.answer(request_of())
    again = (await deployment.client.answer(request_of())).generation

    assert "done, from the cache" in (await deployment.explain(again.name)).stdout


async def test_a_running_generation_is_explained_until_now() -> None:
    async with AsyncExitStack() as stack:
        decoder = BlockedDecoder()
        deployment = await deployment_of(stack, decoder)
        events = await stack.enter_async_context(aclosing(deployment.client.generate(request_of())))
        name = (await anext(events)).payload.generation  # type: ignore[union-attr]
        while len((await deployment.client.get(name)).calls) < 2:
            await asyncio.sleep(0.01)

        explained = await deployment.explain_as_json(name)
        decoder.may_start.set()

    assert explained["state"] == "RUNNING"
    assert [node["outcome"] for node in explained["nodes"]] == ["done", "running"]


async def test_a_plan_that_grows_is_not_awaited() -> None:
    async with AsyncExitStack() as stack:
        deployment = await deployment_of(stack, ToyDecoder("a"), script=[*SCRIPT, Pause(None)])
        events = await stack.enter_async_context(aclosing(deployment.client.generate(request_of())))
        name = (await anext(events)).payload.generation  # type: ignore[union-attr]
        while len((await deployment.client.get(name)).calls) < 2:
            await asyncio.sleep(0.01)

        async with asyncio.timeout(30):
            timeline = await read_timeline(deployment.client, name)

    assert [node.name for node in timeline.nodes] == ["llm", "a (part-1)"]


async def test_an_unknown_generation_and_a_missing_server_are_errors(deployment: Deployment) -> None:
    unknown = await deployment.explain("0" * 32)
    without_server = CliRunner().invoke(explain_app, ["0" * 32])

    assert (unknown.exit_code, without_server.exit_code) == (Exit.REFUSED, Exit.REFUSED)
    assert "it expired, was removed or never existed" in unknown.stderr
    assert "add --server HOST:PORT, or set MOTET_SERVER" in without_server.stderr


async def test_the_picture_of_a_generation_has_no_text_of_it(deployment: Deployment, tmp_path: Path) -> None:
    record = (await deployment.client.answer(request_of("tell me of walruses"))).generation

    result = await deployment.explain(record.name, "--timeline", tmp_path / "new" / "x.svg")

    assert result.exit_code == Exit.OK
    picture = (tmp_path / "new" / "x.svg").read_text()
    assert "a (part-1)" in picture
    assert "walruses" not in picture
    assert "An a" not in picture


def test_run_draws_a_timeline_of_its_answer(tmp_path: Path) -> None:
    file = tmp_path / "x.svg"

    result = CliRunner().invoke(
        run_app, ["a mix of $things$", "--toy", "--out", str(tmp_path / "out"), "--timeline", str(file)]
    )

    assert result.exit_code == Exit.OK
    picture = file.read_text()
    assert "mix (part-" in picture
    assert "$things$" not in picture


def test_a_picture_of_an_unknown_format_is_refused_before_the_answer(tmp_path: Path) -> None:
    result = CliRunner().invoke(run_app, ["hello", "--toy", "--timeline", str(tmp_path / "x.doc")])

    assert result.exit_code == Exit.REFUSED
    assert "let its name end with .svg, .png or .pdf" in result.stderr
    assert not result.stdout
