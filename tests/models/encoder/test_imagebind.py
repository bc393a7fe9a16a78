"""The encoder worker, with a tiny network and random weights."""

import asyncio
import json
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from motet.core.bundle import Bundle, bundle_folder
from motet.core.deadline import Deadline
from motet.core.errors import BundleError, DeadlineError, MediaError
from motet.core.media import Media
from motet.core.preprocessing import AS_SHOWN, Preprocessing
from motet.core.telemetry.compute_time import collect_compute_times
from motet.core.telemetry.service_kind import ServiceKind
from motet.models.arrays import to_torch
from motet.models.dtype import DtypeSetting
from motet.models.encoder import imagebind
from motet.models.encoder.imagebind import ImageBindEncoder, load_encoder, load_imagebind, version_of
from motet.models.encoder.preprocessing import picture_views
from motet.models.model_folder import ModelFolder
from tests.media.samples import clip_file, picture_file, sound_file
from tests.models.tiny_bundle import WIDTH, tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


async def test_each_item_gets_one_embedding_in_order_and_compute_time_of_its_modality(bundle: Bundle) -> None:
    encoder = load_encoder(bundle)
    media = [
        Media("", data) for data in (picture_file("PNG"), sound_file("WAV", "PCM_16"), clip_file("mp4", "libx264"))
    ]

    times = collect_compute_times()
    forwards = await encoder.encode(media, Deadline.after(30))
    assert times.totals().keys() == {(ServiceKind.ENCODER, modality) for modality in ("image", "audio", "video")}
    backwards = await encoder.encode(media[::-1], Deadline.after(30))

    assert [tensor.shape for tensor in forwards] == [(WIDTH,)] * 3
    assert forwards == backwards[::-1]
    assert len({tensor.data for tensor in forwards}) == 3
    encoder.close()


async def test_the_embedding_of_a_picture_is_the_network_s_output_for_its_view(bundle: Bundle) -> None:
    encoder = load_encoder(bundle)
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3), np.uint8)
    embeddings = await encoder.encode([Media("image/png", picture_file("PNG", picture))], Deadline.after(30))

    with torch.inference_mode():
        expected = load_imagebind(ModelFolder.of(bundle, "encoder"))("vision", picture_views(picture, 16).pixels)[0]
    torch.testing.assert_close(to_torch(embeddings[0]), expected)
    encoder.close()


async def test_the_manifest_decides_the_preprocessing_and_with_it_the_version(bundle: Bundle) -> None:
    left, right = np.random.default_rng(0).normal(0, 0.1, (2, 32_000)).astype(np.float32)
    sounds = {
        name: [Media("", sound_file("WAV", "FLOAT", sound))]
        for name, sound in (("both", np.stack([left, right], 1)), ("first", left), ("mean", (left + right) / 2))
    }
    entry = bundle.manifest.encoder.model_copy(update={"preprocessing": Preprocessing(channels="mean")})
    other = Bundle(bundle.folder, bundle.manifest.model_copy(update={"encoder": entry}), bundle.digest)

    for chosen, name in ((bundle, "first"), (other, "mean")):
        encoder = load_encoder(chosen)
        embeddings = [await encoder.encode(sounds[key], Deadline.after(30)) for key in ("both", name)]
        assert embeddings[0] == embeddings[1]
        encoder.close()
    assert version_of(bundle) != version_of(other)


def test_the_nano_bundle_chooses_the_preprocessing_that_it_always_had() -> None:
    chosen = Bundle.load(bundle_folder("nano"), ()).manifest.encoder.preprocessing

    assert chosen == replace(AS_SHOWN, rounding="float")


async def test_the_error_for_unreadable_media_has_their_index(bundle: Bundle) -> None:
    encoder = load_encoder(bundle)
    media = [Media("image/png", picture_file("PNG")), Media("image/png", b"not a picture")]

    with pytest.raises(MediaError) as caught:
        await encoder.encode(media, Deadline.after(30))

    assert caught.value.metadata["index"] == "1"
    encoder.close()


async def test_a_passed_deadline_raises_an_error(bundle: Bundle) -> None:
    encoder = load_encoder(bundle)

    with pytest.raises(DeadlineError):
        await encoder.encode([Media("image/png", picture_file("PNG"))], Deadline.after(0))
    encoder.close()


async def test_concurrent_media_get_the_embeddings_of_single_media(bundle: Bundle) -> None:
    encoder = load_encoder(bundle)
    wide = np.random.default_rng(1).integers(0, 255, (40, 16, 48, 3)).astype(np.uint8)
    media = [
        Media("", data)
        for data in (picture_file("PNG"), clip_file("mp4", "libx264", wide), sound_file("WAV", "PCM_16"))
    ]

    expected = [(await encoder.encode([item], Deadline.after(30)))[0] for item in media]
    calls = [encoder.encode(media[index:] + media[:index], Deadline.after(30)) for index in range(3)]
    results = await asyncio.gather(*calls)

    assert [found[-index:] + found[:-index] for index, found in enumerate(results)] == [expected] * 3
    encoder.close()


async def test_the_deadline_counts_while_media_wait_for_the_network(bundle: Bundle) -> None:
    network, started, allowed = load_imagebind(ModelFolder.of(bundle, "encoder")), threading.Event(), threading.Event()

    def block(*_: object) -> None:
        started.set()
        allowed.wait(50)

    network.modality_trunks["vision"].register_forward_pre_hook(block)
    encoder = ImageBindEncoder(network)
    try:
        # On a slow machine, a short deadline passes while the picture is still being decoded.
        for seconds in (0.5, 4, 30):
            with pytest.raises(DeadlineError):
                await encoder.encode([Media("image/png", picture_file("PNG"))], Deadline.after(seconds))
            if started.is_set():
                break
        assert started.is_set()
    finally:
        allowed.set()
        encoder.close()


async def test_a_sound_is_encoded_while_the_vision_network_is_busy(bundle: Bundle) -> None:
    network, allowed = load_imagebind(ModelFolder.of(bundle, "encoder")), threading.Event()
    network.modality_trunks["vision"].register_forward_pre_hook(lambda *_: allowed.wait(50) and None)
    encoder = ImageBindEncoder(network)
    picture = asyncio.create_task(encoder.encode([Media("", picture_file("PNG"))], Deadline.after(30)))

    await encoder.encode([Media("", sound_file("WAV", "PCM_16"))], Deadline.after(30))

    assert not picture.done()
    allowed.set()
    await picture
    encoder.close()


@pytest.mark.parametrize("others", [10, 40], ids=["all are decoded", "more than the slots"])
async def test_a_high_priority_is_encoded_before_items_that_waited_longer(bundle: Bundle, others: int) -> None:
    network, allowed, batch_sizes = load_imagebind(ModelFolder.of(bundle, "encoder")), threading.Event(), []
    encoder = ImageBindEncoder(network)
    finished: list[int] = []

    def block(clips: torch.Tensor) -> torch.Tensor:
        batch_sizes.append(len(clips))
        allowed.wait(50)
        return network("vision", clips)  # type: ignore[no-any-return]

    async def encode(priority: int) -> None:
        await encoder.encode([Media("", picture_file("PNG"))], Deadline.after(60), priority=priority)
        finished.append(priority)

    encoder._vision._network = block
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for priority in [0] * others + [1]:
            group.create_task(encode(priority))
        while sum(batch_sizes) + encoder._vision.waiting < min(others + 1, 16):
            await asyncio.sleep(0.002)
        allowed.set()

    assert finished.index(1) <= (batch_sizes[0] if others == 10 else 30)
    encoder.close()


def test_the_version_depends_on_the_weights_and_on_the_edition_of_the_views(
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


def test_other_modalities_of_a_checkpoint_are_ignored(bundle: Bundle, tmp_path: Path) -> None:
    state = load_file(bundle.path("encoder/model.safetensors"))
    others = {
        "modality_trunks.text.blocks.0.norm_1.weight": torch.zeros(3),
        "modality_postprocessors.audio.1.log_logit_scale": torch.zeros(()),
    }
    write_encoder(bundle, state | others, tmp_path)

    assert load_imagebind(ModelFolder.unlisted(tmp_path)).config.width == WIDTH


@pytest.mark.parametrize("drop", [True, False])
def test_the_error_for_a_missing_or_unexpected_parameter_names_the_parameter(
    bundle: Bundle, tmp_path: Path, drop: bool
) -> None:
    state = load_file(bundle.path("encoder/model.safetensors"))
    name = "modality_heads.audio.2.weight"
    if drop:
        del state[name]
    else:
        name = "modality_heads.audio.9.weight"
        state[name] = torch.zeros(1)
    write_encoder(bundle, state, tmp_path)

    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load_imagebind(ModelFolder.unlisted(tmp_path))


def write_encoder(bundle: Bundle, state: dict[str, torch.Tensor], folder: Path) -> None:
    """Write the bundle's encoder with other parameters to a folder."""
    config = json.loads(bundle.path("encoder/config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config))
    save_file(state, folder / "model.safetensors")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_an_encoder_on_a_gpu_has_the_dtype_of_its_weights(dtype: DtypeSetting, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path)
    file = bundle.path("encoder") / "model.safetensors"
    save_file({name: value.to(getattr(torch, dtype)) for name, value in load_file(file).items()}, file)

    network = load_imagebind(ModelFolder.of(bundle, "encoder"), torch.device("meta"))

    assert {parameter.dtype for parameter in network.parameters()} == {getattr(torch, dtype)}
    # An operation of tensors on "meta" and on a CPU fails, as it would with those of a GPU.
    views = torch.empty(2, 3, 2, 16, 16, device="meta", dtype=getattr(torch, dtype))
    assert network("vision", views).device == torch.device("meta")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
async def test_embeddings_of_half_precision_are_nearly_those_of_single_precision(
    bundle: Bundle, dtype: DtypeSetting
) -> None:
    media = [Media("", data) for data in (picture_file("PNG"), sound_file("WAV", "PCM_16"))]
    exact, half = load_encoder(bundle), load_encoder(bundle, dtype=dtype)

    expected, embeddings = [await encoder.encode(media, Deadline.after(30)) for encoder in (exact, half)]

    assert {embedding.dtype for embedding in embeddings} == {"float32"}
    for one, other in zip(embeddings, expected, strict=True):
        assert one != other
        torch.testing.assert_close(to_torch(one), to_torch(other), atol=0.05, rtol=0.05)
    exact.close()
    half.close()
