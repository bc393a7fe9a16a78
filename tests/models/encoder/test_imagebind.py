import asyncio
import json
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from motet.core.bundle import Bundle
from motet.core.deadline import Deadline
from motet.core.errors import BundleError, DeadlineError, MediaError
from motet.core.media import Media
from motet.models.arrays import to_torch
from motet.models.encoder import imagebind
from motet.models.encoder.imagebind import ImageBindEncoder, load_encoder, load_imagebind, version_of
from motet.models.encoder.preprocessing import picture_views
from tests.media.samples import clip_file, picture_file, sound_file
from tests.models.tiny_bundle import WIDTH, tiny_bundle
from tests.waiting import until


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


async def test_each_piece_of_media_gets_one_embedding_in_order(bundle: Bundle) -> None:
    encoder = load_encoder(bundle)
    media = [
        Media("", data) for data in (picture_file("PNG"), sound_file("WAV", "PCM_16"), clip_file("mp4", "libx264"))
    ]

    together = await encoder.encode(media, Deadline.after(30))
    backwards = await encoder.encode(media[::-1], Deadline.after(30))

    assert [tensor.shape for tensor in together] == [(WIDTH,)] * 3
    assert together == backwards[::-1]
    assert len({tensor.data for tensor in together}) == 3
    encoder.close()


async def test_the_embedding_of_a_picture_is_what_the_network_makes_of_its_view(bundle: Bundle) -> None:
    encoder = load_encoder(bundle)
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    found = await encoder.encode([Media("image/png", picture_file("PNG", picture))], Deadline.after(30))

    with torch.inference_mode():
        expected = load_imagebind(bundle.path("encoder"))("vision", picture_views(picture, 16).pixels)[0]
    torch.testing.assert_close(to_torch(found[0]), expected)
    encoder.close()


async def test_unreadable_media_are_named_by_their_place(bundle: Bundle) -> None:
    encoder = load_encoder(bundle)
    media = [Media("image/png", picture_file("PNG")), Media("image/png", b"not a picture")]

    with pytest.raises(MediaError) as caught:
        await encoder.encode(media, Deadline.after(30))

    assert caught.value.metadata["index"] == "1"
    encoder.close()


async def test_a_deadline_that_has_passed_is_told(bundle: Bundle) -> None:
    encoder = load_encoder(bundle)

    with pytest.raises(DeadlineError):
        await encoder.encode([Media("image/png", picture_file("PNG"))], Deadline.after(0))
    encoder.close()


async def test_media_that_come_together_get_the_embeddings_they_get_alone(bundle: Bundle) -> None:
    encoder = load_encoder(bundle)
    wide = np.random.default_rng(1).integers(0, 255, (40, 16, 48, 3)).astype(np.uint8)
    media = [
        Media("", data)
        for data in (picture_file("PNG"), clip_file("mp4", "libx264", wide), sound_file("WAV", "PCM_16"))
    ]

    alone = [(await encoder.encode([item], Deadline.after(30)))[0] for item in media]
    calls = [encoder.encode(media[index:] + media[:index], Deadline.after(30)) for index in range(3)]
    together = await asyncio.gather(*calls)

    assert [found[-index:] + found[:-index] for index, found in enumerate(together)] == [alone] * 3
    encoder.close()


async def test_the_deadline_counts_while_media_wait_for_the_network(bundle: Bundle) -> None:
    network, going = load_imagebind(bundle.path("encoder")), threading.Event()
    network.modality_trunks["vision"].register_forward_pre_hook(lambda *_: going.wait(30) and None)
    encoder = ImageBindEncoder(network)
    try:
        with pytest.raises(DeadlineError):
            await encoder.encode([Media("image/png", picture_file("PNG"))], Deadline.after(0.5))
    finally:
        going.set()
        encoder.close()


async def test_a_sound_is_heard_while_the_vision_tower_is_busy(bundle: Bundle) -> None:
    network, going = load_imagebind(bundle.path("encoder")), threading.Event()
    network.modality_trunks["vision"].register_forward_pre_hook(lambda *_: going.wait(30) and None)
    encoder = ImageBindEncoder(network)
    looking = asyncio.create_task(encoder.encode([Media("", picture_file("PNG"))], Deadline.after(30)))

    await encoder.encode([Media("", sound_file("WAV", "PCM_16"))], Deadline.after(30))

    assert not looking.done()
    going.set()
    await looking
    encoder.close()


@pytest.mark.parametrize("others", [10, 40], ids=["decoded already", "too many to be decoded at once"])
async def test_the_urgent_are_looked_at_before_those_who_waited_longer(bundle: Bundle, others: int) -> None:
    network, going, taken = load_imagebind(bundle.path("encoder")), threading.Event(), []
    encoder = ImageBindEncoder(network)
    order: list[int] = []

    def busy(clips: torch.Tensor) -> torch.Tensor:
        taken.append(len(clips))
        going.wait(30)
        return network("vision", clips)  # type: ignore[no-any-return]

    async def look(priority: int) -> None:
        await encoder.encode([Media("", picture_file("PNG"))], Deadline.after(60), priority=priority)
        order.append(priority)

    encoder._vision._network = busy
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for priority in [0] * others + [1]:
            group.create_task(look(priority))
        await until(lambda: sum(taken) + encoder._vision.waiting >= min(others + 1, 16))
        going.set()

    assert order.index(1) <= (taken[0] if others == 10 else 30)
    encoder.close()


def test_the_version_follows_from_the_weights_and_the_edition_of_the_views(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def version(**files: str) -> str:
        return version_of(Bundle(bundle.folder, bundle.manifest.model_copy(update={"files": files}), bundle.digest))

    weights, others = {"encoder/model.safetensors": "a"}, {"llm/model.safetensors": "b"}
    assert version(**weights) == version(**weights, **others)
    assert version(**weights) != version(**{"encoder/model.safetensors": "b"})

    before = version(**weights)
    monkeypatch.setattr(imagebind, "EDITION", imagebind.EDITION + 1)
    assert version(**weights) != before


def test_towers_of_other_senses_in_a_checkpoint_are_left_out(bundle: Bundle, tmp_path: Path) -> None:
    state = load_file(bundle.path("encoder/model.safetensors"))
    others = {
        "modality_trunks.text.blocks.0.norm_1.weight": torch.zeros(3),
        "modality_postprocessors.audio.1.log_logit_scale": torch.zeros(()),
    }
    copy(bundle, state | others, tmp_path)

    assert load_imagebind(tmp_path).config.width == WIDTH


@pytest.mark.parametrize("drop", [True, False])
def test_a_parameter_missing_or_one_too_many_is_refused_by_name(bundle: Bundle, tmp_path: Path, drop: bool) -> None:
    state = load_file(bundle.path("encoder/model.safetensors"))
    name = "modality_heads.audio.2.weight"
    if drop:
        del state[name]
    else:
        name = "modality_heads.audio.9.weight"
        state[name] = torch.zeros(1)
    copy(bundle, state, tmp_path)

    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load_imagebind(tmp_path)


def copy(bundle: Bundle, state: dict[str, torch.Tensor], folder: Path) -> None:
    """The bundle's encoder with other parameters, in a folder of its own."""
    config = json.loads(bundle.path("encoder/config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config))
    save_file(state, folder / "model.safetensors")
