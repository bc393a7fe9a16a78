"""An answer whose media are made from each other by diffusion models and `mux`, embedded and served."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

import av
import pytest

from motet.answers.answer import Answer
from motet.answers.answer_stream import AnswerStream
from motet.core.bundle import DecoderEntry, Manifest, SignalEntry
from motet.core.media import Media
from motet.core.request import GenerationRequest, Message
from motet.core.workers import Decoder, Workers
from motet.models.diffusion.decoder import DiffusionDecoder, load_decoder
from motet.models.mux import MuxDecoder
from motet.toys.workers import ToyEncoder, ToyLanguageModel
from motet.transport.clients import RemoteDecoder
from tests.callers import AnonymousOrchestrator
from tests.media.samples import PICTURE, picture_file
from tests.models.diffusion import tiny_decoders as tiny
from tests.transport.serving import served

FILM = DecoderEntry(kind="mux", path="film", conditioning=[1], media_type="video/mp4", steps=1, guidance=1.0)


def manifest_of(folder: Path) -> Manifest:
    """Return the manifest of the tiny decoders, with a film of an animation and a sound."""
    manifest = tiny.bundle(folder).manifest
    film = SignalEntry(token="[F{i}]", run=4, decoder="film", takes=[["animation", "video"], ["audio"]])
    changes = {"signals": {**manifest.signals, "film": film}, "decoders": {**manifest.decoders, "film": FILM}}
    return Manifest.model_validate(manifest.model_dump() | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    tiny.write(folder)
    return folder


@pytest.fixture
async def decoders(folder: Path) -> AsyncIterator[Mapping[str, Decoder]]:
    bundle, manifest = tiny.bundle(folder), manifest_of(folder)
    loaded = {name: load_decoder(bundle, name) for name in ("image", "audio", "animation")}
    yield {**loaded, "film": MuxDecoder(manifest, "film")}
    for decoder in loaded.values():
        assert isinstance(decoder, DiffusionDecoder)
        decoder.close()


async def answer_of(manifest: Manifest, decoders: Mapping[str, Decoder], modalities: str, *media: Media) -> Answer:
    """Return an answer with one medium of each of the modalities, in order."""
    runs = {run.modality: list(run.ids) for run in manifest.grammar.runs}
    script = [token for name in modalities.split() for token in (ord("-"), *runs[name])]
    shapes = {name: tuple(manifest.decoder_of(name).conditioning) for name in manifest.signals}
    model = ToyLanguageModel(manifest.grammar, script, shapes=shapes)
    request = GenerationRequest((Message("user", ("Go.", *media)),), seed=3)
    async with (
        AnonymousOrchestrator(Workers(ToyEncoder(), model, decoders), manifest, "d" * 64) as orchestrator,
        AnswerStream(orchestrator, request) as stream,
    ):
        return await stream.answer()


async def test_a_film_of_an_animation_of_a_picture_has_the_same_bytes_embedded_and_served(
    folder: Path, decoders: Mapping[str, Decoder]
) -> None:
    manifest, order = manifest_of(folder), "image audio animation film"
    async with AsyncExitStack() as stack:
        remote = {}
        for name, decoder in decoders.items():
            _, channel = await stack.enter_async_context(served(decoder))
            remote[name] = RemoteDecoder(channel)
        answers = [await answer_of(manifest, each, order) for each in (decoders, remote, decoders)]

    made = [[(part.modality, part.data) for part in answer.media] for answer in answers]
    assert made[0] == made[1] == made[2]
    assert [modality for modality, _ in made[0]] == order.split()
    with av.open(io.BytesIO(made[0][-1][1])) as container:
        seconds = {stream.type: float(stream.duration * stream.time_base) for stream in container.streams}
    assert seconds == {"video": 0.75, "audio": 0.75}


async def test_an_animation_takes_an_attached_picture(folder: Path, decoders: Mapping[str, Decoder]) -> None:
    manifest = manifest_of(folder)
    pictures = [Media("image/png", picture_file("PNG")), Media("image/png", picture_file("PNG", 255 - PICTURE))]
    answers = [await answer_of(manifest, decoders, "animation", picture) for picture in (*pictures, pictures[0])]
    clips = [answer.media[0].data for answer in answers]
    assert clips[0] == clips[2] != clips[1]
