from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.models.encoder.imagebind import load_encoder
from services.embedded import embedded
from services.factory import Factory
from tests.media.children import children_started
from tests.media.samples import PICTURE, clip_file, picture_file, sound_file
from tests.models.tiny_bundle import tiny_bundle


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
