"""What the denoisers learn from. Skipped where the packages that ship the data are not installed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from motet.training.nano.recipes.denoiser import losses, sample
from motet.training.nano.recipes.denoiser_kinds import DENOISER_TASKS, DenoiserTask, _between
from motet.training.nano.recipes.vocoder import unheard
from motet.training.nano.world import caption_encoder, clips, pictures, sounds
from motet.training.nano.world.world import Thing, held_out, nameless, things

torch.set_num_threads(1)

drawn = pytest.mark.skipif(
    not (pictures.folder() / "emoji-datasource-google").exists(), reason="the emoji packages are not installed"
)
played = pytest.mark.skipif(not shutil.which("fluidsynth"), reason="fluidsynth is not installed")


@pytest.fixture(scope="module", params=[pytest.param("image", marks=drawn), pytest.param("video", marks=drawn)])
def voice(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> DenoiserTask:
    return DENOISER_TASKS[request.param](tmp_path_factory.mktemp("build"))


def test_no_batch_holds_a_held_out_thing(voice: DenoiserTask) -> None:
    secret = {thing.caption for thing in things(voice.modality) if held_out(thing)}
    seen = {name for seed in range(30) for name in voice.batch(np.random.default_rng(seed))[1]}
    assert len(seen) > 40
    assert not seen & secret


@drawn
def test_a_noun_seen_in_only_one_of_two_opposite_motions_is_not_named_with_it(tmp_path: Path) -> None:
    video = DENOISER_TASKS["video"](tmp_path)
    seen = {name for seed in range(30) for name in video.batch(np.random.default_rng(seed))[1]}
    assert held_out(Thing("video", "red apple", "moving left"))
    assert "a red apple moving right" not in seen
    assert "a red apple moving up" in seen
    assert "a thing moving right" in seen


@drawn
def test_movers_are_also_seen_at_rest_from_every_side(tmp_path: Path) -> None:
    video = DENOISER_TASKS["video"](tmp_path)
    seen = {name for seed in range(30) for name in video.batch(np.random.default_rng(seed))[1]}
    assert len(seen & {thing.caption for thing in nameless("video")}) > 3
    upright, upside_down = (clips.rest("heart", turned) for turned in (0, clips.FRAMES - 1))
    assert (upside_down == upside_down[0]).all()
    assert (upside_down[:, ::-1, ::-1] == upright).all()
    assert (upside_down != upright).any()


def test_latents_have_the_shape_the_denoiser_takes_and_about_unit_variance(voice: DenoiserTask) -> None:
    latents, names = voice.batch(np.random.default_rng(0))
    assert latents.shape == (len(names), *voice.shape)
    assert 0.6 < latents.std() < 1.4


def test_a_denoiser_can_be_asked_and_corrected(voice: DenoiserTask) -> None:
    torch.manual_seed(0)
    denoiser = voice.denoiser()
    (loss,) = losses(denoiser, voice, np.random.default_rng(0)).values()
    loss.backward()
    assert 0.5 < loss.item() < 3
    assert all(parameter.grad is not None for parameter in denoiser.parameters())
    assert sample(denoiser, voice, ["a penguin on a blue background"], steps=2).shape == (1, *voice.shape)


def test_the_vocoder_never_hears_a_held_out_combination() -> None:
    assert unheard("piano", 45)
    assert not unheard("piano", 52)
    assert not unheard("piano", 62)
    assert sum(unheard(instrument, note) for instrument in ("piano", "music box") for note in range(45, 84)) == 5


@played
def test_an_instrument_plays_the_notes_it_is_told() -> None:
    flute = sounds._render(73, [69, 57])
    assert len(flute) >= 2 * 4 * sounds.RATE
    for slot, hertz in enumerate((440, 220)):
        tone = flute[slot * 4 * sounds.RATE + 4000 :][:16000]
        spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
        assert spectrum[hertz - 8 : hertz + 9].max() > 0.3 * spectrum.max()
    assert np.abs(flute[3 * sounds.RATE : 4 * sounds.RATE]).max() < 0.01


def test_no_caption_of_a_note_between_registers_is_a_held_out_one() -> None:
    secret = caption_encoder.encode("audio", [thing.caption for thing in things("audio") if held_out(thing)])[:, 0]
    said = caption_encoder.encode("audio", [name for note in (50, 61, 67, 78) for name in _between("piano", note)])[
        :, 0
    ]
    assert (said @ secret.T).max() < 0.98
    assert _between("piano", 50)[1] == "low low low middle piano piano piano piano"
