"""Motet in one process: loading, and the work of one request."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from motet.core.errors import SettingsError
from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.models.encoder.imagebind import load_encoder
from services.embedded import embedded
from services.factory import Factory
from services.lazy import ENCODER, LANGUAGE_MODEL, loading
from tests.media.children import children_started
from tests.media.samples import PICTURE, clip_file, picture_file, sound_file
from tests.models.tiny_bundle import tiny_bundle
from tests.services.command import CLEAN, COMMAND, eventually
from tests.waiting import until


async def test_an_embedded_orchestrator_starts_one_child_per_attachment(tmp_path: Path) -> None:
    encoder = load_encoder(tiny_bundle(tmp_path))
    factory = replace(Factory.of_toys(), encoder=lambda: encoder)
    attachments = (
        picture_file("PNG"),
        picture_file("JPEG", PICTURE),
        sound_file("WAV", "PCM_16"),
        clip_file("mp4", "libx264"),
    )
    request = GenerationRequest((Message("user", ("Look.", *(Media("", data) for data in attachments))),), max_parts={})

    async with embedded(factory) as motet:
        with children_started() as children:
            events = [event async for event in motet.generate(request)]

    assert events
    assert len(children) == len(attachments)
    encoder.close()


async def test_preloaded_workers_load_before_any_request_and_the_others_do_not() -> None:
    loads: list[str] = []
    toys = Factory.of_toys()
    factory = replace(
        toys,
        encoder=lambda: loads.append(ENCODER) or toys.encoder(),  # type: ignore[func-returns-value]
        language_model=lambda: loads.append(LANGUAGE_MODEL) or toys.language_model(),  # type: ignore[func-returns-value]
    )

    async with embedded(factory, [LANGUAGE_MODEL]):
        await until(lambda: loads == [LANGUAGE_MODEL])
    async with embedded(factory, [ENCODER]):
        await until(lambda: loads == [LANGUAGE_MODEL, ENCODER])
    async with embedded(factory):
        await asyncio.to_thread(eventually, lambda: not loading())

    assert loads == [LANGUAGE_MODEL, ENCODER]


async def test_a_wrong_setting_of_the_environment_is_a_settings_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOTET_MAX_DURATION", "-1")

    with pytest.raises(SettingsError, match="MOTET_MAX_DURATION"):
        async with embedded(Factory.of_toys()):
            pass


@pytest.mark.parametrize("command", [["run", "-", "--only", "text"], ["chat", "--only", "text"]])
def test_the_language_model_loads_while_the_prompt_is_empty(command: list[str]) -> None:
    with subprocess.Popen([*COMMAND, *command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, env=CLEAN) as process:
        assert eventually(lambda: "libtorch" in Path(f"/proc/{process.pid}/maps").read_text())
        process.kill()
