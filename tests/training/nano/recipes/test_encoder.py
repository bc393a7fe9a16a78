import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from motet.models.encoder.imagebind import load_imagebind
from motet.models.encoder.network import ImageBind
from motet.training.loop import Loop, Schedule
from motet.training.nano.data.augment_pictures import Example, ends, patchy, roughened
from motet.training.nano.recipes.encoder import (
    ATTRIBUTES,
    NANO,
    EncoderTrainer,
    blurred,
    export,
    heights,
    losses,
    registers,
)
from motet.training.nano.world.world import MIDDLE_C, MOTIONS, NOUNS, REGISTERS, Thing, held_out


class OneExample:
    """Draws the same noise, and says the same of it, again and again."""

    def __init__(self, noun: str, pitch: float = math.nan, thing: Thing | None = None) -> None:
        labels = {"noun": noun, "background": "blue", "motion": "still"}
        self._example = Example(torch.ones(3, 2, 64, 64), labels, pitch, thing)

    def draw(self, generator: np.random.Generator) -> Example:
        return self._example


def test_a_tower_learns_what_it_is_told_and_nothing_where_it_is_told_nothing() -> None:
    torch.manual_seed(0)
    pupil = EncoderTrainer(ImageBind(NANO), "vision")
    optimizer = torch.optim.SGD([p for p in pupil.parameters() if p.requires_grad], 0.01)
    generator = np.random.default_rng(0)

    first = losses(pupil, OneExample("dog"), 2, generator)
    torch.stack(list(first.values())).sum().backward()
    optimizer.step()

    assert losses(pupil, OneExample("dog"), 2, generator)["noun"] < first["noun"]
    assert losses(pupil, OneExample(""), 2, generator)["noun"] == 0


def test_no_answer_is_wrong_that_would_be_a_held_out_thing() -> None:
    torch.manual_seed(0)
    pupil = EncoderTrainer(ImageBind(NANO), "vision")
    examples = OneExample("dog", thing=Thing("image", "dog", "blue"))

    losses(pupil, examples, 2, np.random.default_rng(0))["noun"].backward()

    slopes = dict(zip(NOUNS, pupil.layers["noun"].bias.grad, strict=True))
    kept_back = {noun for noun in NOUNS if held_out(Thing("image", noun, "blue"))}
    assert kept_back
    assert {noun for noun, slope in slopes.items() if slope == 0} == kept_back


def test_a_pitch_is_learned_as_numbers_where_it_is_told() -> None:
    torch.manual_seed(0)
    pupil = EncoderTrainer(ImageBind(NANO), "vision").eval()
    generator = np.random.default_rng(0)

    heard = pupil(torch.ones(1, 3, 2, 64, 64)).heights
    off = (heard - heights(torch.tensor([5.0]))).abs().sum()

    assert losses(pupil, OneExample("dog", 5.0), 2, generator)["heights"].item() == pytest.approx(off.item(), 0.05)
    assert losses(pupil, OneExample("dog"), 2, generator)["heights"] == 0


def test_heights_say_how_far_between_its_registers_a_pitch_lies() -> None:
    notes = torch.tensor([note for span in REGISTERS.values() for note in span] + [55.5])
    told = heights((notes - MIDDLE_C) / 12)

    assert told[:, 0].tolist() == pytest.approx(((notes - MIDDLE_C) / 12).tolist())
    assert told[-1, 1:].tolist() == pytest.approx([0.5, 0])
    assert registers(told[:-1]).tolist() == [place for place, span in enumerate(REGISTERS.values()) for _ in span]


def test_only_who_learns_reads_blurred_embeddings() -> None:
    pupil = EncoderTrainer(ImageBind(NANO), "vision")
    pixels = torch.randn(2, 3, 2, 64, 64)

    assert (pupil(pixels).logits["noun"] != pupil(pixels).logits["noun"]).any()
    pupil.eval()
    assert (pupil(pixels).logits["noun"] == pupil(pixels).logits["noun"]).all()
    assert blurred(torch.eye(4)).norm(dim=1).tolist() == pytest.approx([1] * 4)


def test_an_embedding_loses_what_no_layer_reads() -> None:
    torch.manual_seed(0)
    pupil = EncoderTrainer(ImageBind(NANO), "vision")
    optimizer = torch.optim.SGD(pupil.encoder.parameters(), 0.5)
    pixels = torch.randn(4, 3, 2, 64, 64)

    first = pupil(pixels).unread
    for _ in range(5):
        pupil(pixels).unread.backward()
        optimizer.step()
        optimizer.zero_grad()

    assert 0 < pupil(pixels).unread < 0.9 * first < 1


def test_only_the_tower_that_is_trained_moves() -> None:
    pupil = EncoderTrainer(ImageBind(NANO), "audio")
    learned = [name for name, parameter in pupil.named_parameters() if parameter.requires_grad]

    assert any("modality_trunks.audio" in name for name in learned)
    assert not any(".vision." in name for name in learned)


def test_trained_towers_are_joined_into_one_encoder(tmp_path: Path) -> None:
    for tower in ATTRIBUTES:
        loop = Loop(EncoderTrainer(ImageBind(NANO), tower), tmp_path / "build" / tower, Schedule(steps=1, rate=0.1))
        loop.save()

    export(tmp_path / "build", tmp_path / "encoder")

    assert load_imagebind(tmp_path / "encoder").config == NANO
    dtypes = {value.dtype for value in load_file(tmp_path / "encoder" / "model.safetensors").values()}
    assert dtypes == {torch.float16}


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_motion_is_seen_from_its_first_and_last_frame(motion: str) -> None:
    for seed in range(50):
        first, last = ends(motion, np.random.default_rng(seed))
        right, down = last.x - first.x, last.y - first.y
        told = {
            "moving left": right < -12 and abs(down) < 8,
            "moving right": right > 12 and abs(down) < 8,
            "moving up": down < -12 and abs(right) < 8,
            "moving down": down > 12 and abs(right) < 8,
            "growing": last.scale > 1.5 * first.scale,
            "turning": 80 < abs(last.angle - first.angle) < 280,
        }
        assert [name for name, seen in told.items() if seen] == [motion]


def test_roughness_keeps_the_shape_and_treats_all_frames_alike() -> None:
    frames = np.stack([patchy(np.random.default_rng(0))] * 2)

    for seed in range(30):
        rough = roughened(frames, np.random.default_rng(seed))
        assert rough.shape == frames.shape
        assert rough.dtype == np.uint8
        # Only the noise differs from frame to frame.
        assert np.abs(rough[0].astype(int) - rough[1]).mean() < 25
