"""`motet serve`: a service from its settings to its exit."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import grpc
import pytest
import torch

from motet.core.errors import SettingsError
from motet.core.telemetry.service_kind import ServiceKind
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from services.decoder.service import decoder_service
from services.encoder.service import encoder_service
from services.exit_codes import Exit
from services.llm.service import language_model_service
from services.orchestrator.servicer import GenerationServicer
from services.ready_line import ReadyLine
from services.serve import ReadyService, Service, serve
from services.settings import ServiceSettings
from tests.callers import for_anyone
from tests.models.tiny_bundle import tiny_bundle
from tests.scripted_motet import ScriptedMotet
from tests.transport.test_reflection import code_of
from tests.waiting import until

SETTINGS = ServiceSettings(log_level="error")


def service(name: str, listen: str, settings: ServiceSettings, opened: Any) -> Service:
    return Service(ServiceKind.DECODER, name, listen, settings, ConcurrencyLimiter(), opened)


async def test_sigterm_during_loading_stops_a_service_at_once() -> None:
    loading = asyncio.Event()
    closed = asyncio.Event()

    @asynccontextmanager
    async def opened() -> AsyncIterator[ReadyService]:
        loading.set()
        try:
            await asyncio.Event().wait()
            yield ReadyService([])
        finally:
            closed.set()

    serving = asyncio.create_task(serve(service("slow", "127.0.0.1:0", SETTINGS, opened)))
    await loading.wait()
    os.kill(os.getpid(), signal.SIGTERM)

    assert await asyncio.wait_for(serving, 5) is Exit.OK
    assert closed.is_set()


@pytest.mark.parametrize("address", ["{taken}", "0.0.0.0:0", "{metrics}", "no address", "unix:{folder}/absent/s"])
async def test_an_address_that_cannot_be_used_is_refused_before_loading(address: str, tmp_path: Path) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[ReadyService]:
        raise AssertionError("the service loads")
        yield

    with closing(socket.create_server(("127.0.0.1", 0))) as taken, closing(socket.create_server(("", 0))) as free:
        ports = [server.getsockname()[1] for server in (taken, free)]
        free.close()
        metrics = f"127.0.0.1:{ports[1]}"
        listen = address.format(taken=f"127.0.0.1:{ports[0]}", metrics=metrics, folder=tmp_path)
        settings = ServiceSettings(log_level="error", metrics=metrics)

        with pytest.raises(SettingsError, match=re.escape(listen)):
            await serve(service("image decoder", listen, settings, opened))


async def test_a_service_prints_its_ready_line_and_exits_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[ReadyService]:
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
        yield ReadyService([])

    code = await serve(service("image decoder", "127.0.0.1:0", SETTINGS, opened))

    ready_line = ReadyLine.read(capsys.readouterr().out)
    assert ready_line is not None
    assert ready_line.service == "image decoder"
    assert not ready_line.address.endswith(":0")
    assert code is Exit.OK


@pytest.mark.parametrize("options", [{}, {"reflection": False}])
async def test_a_service_describes_itself_by_reflection_unless_that_is_off(
    options: dict[str, bool], capsys: pytest.CaptureFixture[str]
) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[ReadyService]:
        yield ReadyService([GenerationServicer(for_anyone(ScriptedMotet()))])

    settings = ServiceSettings(log_level="error", **options)
    serving = asyncio.create_task(serve(service("x", "127.0.0.1:0", settings, opened)))
    lines: list[ReadyLine] = []
    await until(lambda: bool(lines.extend(filter(None, [ReadyLine.read(capsys.readouterr().out)])) or lines))
    with grpc.insecure_channel(lines[0].address) as channel:
        code = await asyncio.to_thread(code_of, channel)
    os.kill(os.getpid(), signal.SIGTERM)
    await serving

    assert code is (grpc.StatusCode.OK if options.get("reflection", True) else grpc.StatusCode.UNIMPLEMENTED)


@pytest.mark.parametrize("address", ["127.0.0.1:5", "unix:/tmp/a folder, metrics on/it"])
def test_a_ready_line_is_read_from_its_text_and_from_no_other_line(address: str) -> None:
    ready_line = ReadyLine("image decoder", address, "[::1]:6")

    assert ReadyLine.read(f"{ready_line}\n") == ready_line
    assert ReadyLine.read("image decoder is serving") is None


@pytest.mark.parametrize(("options", "allowed"), [({}, False), ({"batch_tolerance": 0.5}, True)])
async def test_the_batch_tolerance_of_a_decoder_comes_from_its_options(
    options: dict[str, float], allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    service = decoder_service({"modality": "audio", "listen": "127.0.0.1:0", **options})
    async with service.open() as opened:
        curve = opened.servicers[0]._decoder._engine._curve_of(2)  # type: ignore[attr-defined]

    while curve.to_try(2):
        curve.learn(2, 1.0, 2.0, 0.4)
    assert curve.allows(2) is allowed


async def test_the_dtype_of_a_worker_comes_from_its_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    options = {"listen": "127.0.0.1:0", "dtype": "bfloat16"}
    async with decoder_service({"modality": "audio", **options}).open() as opened:
        assert opened.servicers[0]._decoder._engine._model.dtype == torch.bfloat16  # type: ignore[attr-defined]
    async with language_model_service(options).open() as opened:
        assert opened.servicers[0]._language_model._context.llama.dtype == torch.bfloat16  # type: ignore[attr-defined]
    with pytest.raises(SettingsError, match="dtype"):
        encoder_service({"dtype": "int8"})


@pytest.mark.parametrize("kind", ["encoder", "language model", "decoder"])
async def test_a_missing_device_is_refused_when_a_worker_is_loaded(kind: str, tmp_path: Path) -> None:
    services: dict[str, Callable[[dict[str, Any]], Service]] = {
        "encoder": encoder_service,
        "language model": language_model_service,
        "decoder": decoder_service,
    }
    options = {"bundle": str(tiny_bundle(tmp_path / "bundle").folder), "device": "cuda:99"}
    options |= {"modality": "image"} if kind == "decoder" else {}

    with pytest.raises(SettingsError, match="there is no cuda:99"):
        async with services[kind](options).open():
            pass
