"""One service, from its settings to its end."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from motet.core.errors import SettingsError
from motet.transport.concurrency_limiter import ConcurrencyLimiter
from services.decoder.service import decoder_service
from services.decoder.settings import DecoderSettings
from services.exit_codes import Exit
from services.llm.settings import LanguageModelSettings
from services.orchestrator.settings import OrchestratorServiceSettings, addresses_of
from services.ready_line import ReadyLine
from services.serve import Opened, Service, serve
from services.settings import ServiceSettings, settings_of

SETTINGS = ServiceSettings(log_level="error")


async def test_a_service_that_is_told_to_stop_while_it_loads_stops_at_once() -> None:
    begun = asyncio.Event()
    closed = asyncio.Event()

    @asynccontextmanager
    async def opened() -> AsyncIterator[Opened]:
        begun.set()
        try:
            await asyncio.Event().wait()
            yield Opened([])
        finally:
            closed.set()

    serving = asyncio.create_task(serve(Service("slow", "127.0.0.1:0", SETTINGS, ConcurrencyLimiter(), opened)))
    await begun.wait()
    os.kill(os.getpid(), signal.SIGTERM)

    assert await asyncio.wait_for(serving, 5) is Exit.OK
    assert closed.is_set()


async def test_a_service_says_where_it_serves_and_ends_well(capsys: pytest.CaptureFixture[str]) -> None:
    @asynccontextmanager
    async def opened() -> AsyncIterator[Opened]:
        asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
        yield Opened([])

    code = await serve(Service("image decoder", "127.0.0.1:0", SETTINGS, ConcurrencyLimiter(), opened))

    announced = ReadyLine.read(capsys.readouterr().out)
    assert announced is not None
    assert announced.service == "image decoder"
    assert not announced.address.endswith(":0")
    assert code is Exit.OK


@pytest.mark.parametrize("address", ["127.0.0.1:5", "unix:/tmp/a folder, metrics on/it"])
def test_an_announcement_is_read_back_from_its_line_and_from_no_other(address: str) -> None:
    announcement = ReadyLine("image decoder", address, "[::1]:6")

    assert ReadyLine.read(f"{announcement}\n") == announcement
    assert ReadyLine.read("image decoder is serving") is None


def test_settings_come_from_the_environment_and_the_command_line_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_THREADS", "3")
    monkeypatch.setenv("MOTET_MODALITY", "image")

    settings = settings_of(DecoderSettings, {"modality": None, "threads": 2})

    assert (settings.modality, settings.threads) == ("image", 2)


@pytest.mark.parametrize(
    ("kind", "name", "value"),
    [
        (ServiceSettings, "THREADS", "0"),
        (ServiceSettings, "GRACE", "-1"),
        (ServiceSettings, "GRACE", "nan"),
        (ServiceSettings, "LOG_LEVEL", "loud"),
        (ServiceSettings, "TOY", "perhaps"),
        (LanguageModelSettings, "KV_TOKENS", "0"),
        (LanguageModelSettings, "PREFIX_TOKENS", "-1"),
        (LanguageModelSettings, "PASS_TOKENS", "none"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_its_name(
    kind: type[ServiceSettings], name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"MOTET_{name}", value)

    with pytest.raises(SettingsError, match=f"MOTET_{name}"):
        settings_of(kind, {})


def test_the_gateway_reads_the_settings_of_a_service_and_of_an_orchestrator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_DECODERS", '{"image": "host:1"}')
    monkeypatch.setenv("MOTET_MAX_DURATION", "9")

    settings = settings_of(OrchestratorServiceSettings, {"bundle": "other"})

    assert (settings.decoders, settings.max_duration, settings.bundle) == ({"image": "host:1"}, 9, "other")


def test_decoder_addresses_are_pairs() -> None:
    assert addresses_of(["image=a:1", "audio=b:2"]) == {"image": "a:1", "audio": "b:2"}
    with pytest.raises(SettingsError, match="MODALITY=HOST:PORT"):
        addresses_of(["image"])


@pytest.mark.parametrize(("given", "allowed"), [({}, False), ({"batch_tolerance": 0.5}, True)])
async def test_jobs_of_a_decoder_move_each_other_as_far_as_it_is_told(
    given: dict[str, float], allowed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    service = decoder_service({"modality": "audio", "listen": "127.0.0.1:0", **given})
    async with service.opened() as opened:
        curve = opened.servicers[0]._decoder._choir._curve_of(2)  # type: ignore[attr-defined]

    while curve.to_try(2):
        curve.learn(2, 1.0, 2.0, 0.4)
    assert curve.allows(2) is allowed


def test_an_influence_is_not_negative() -> None:
    with pytest.raises(SettingsError, match="MOTET_BATCH_TOLERANCE"):
        settings_of(DecoderSettings, {"modality": "a", "batch_tolerance": -1})
