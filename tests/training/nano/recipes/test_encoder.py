import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from motet.models.encoder.imagebind import load_imagebind
from motet.models.encoder.network import ImageBind
from motet.models.model_folder import ModelFolder
from motet.training.loop import Schedule, TrainingLoop
from motet.training.nano.data.encoder_example import EncoderExample
from motet.training.nano.recipes.encoder import (
    ATTRIBUTES,
    NANO,
    EncoderTrainer,
    export,
    heights,
    losses,
    registers,
    with_noise,
)
from motet.training.nano.world.world import MIDDLE_C, NOUNS, REGISTERS, Thing, held_out


class OneExample:
    """A source that always returns the same example."""

    def __init__(self, noun: str, pitch: float = math.nan, thing: Thing | None = None) -> None:
        labels = {"noun": noun, "background": "blue", "motion": "still"}
        self._example = EncoderExample(torch.ones(3, 2, 64, 64), labels, pitch, thing)

    def draw(self, rng: np.random.Generator) -> EncoderExample:
        return self._example


def test_a_tower_learns_a_label_and_a_missing_label_has_no_loss() -> None:
    torch.manual_seed(0)
    trainer = EncoderTrainer(ImageBind(NANO), "vision")
    optimizer = torch.optim.SGD([p for p in trainer.parameters() if p.requires_grad], 0.01)
    rng = np.random.default_rng(0)

    first = losses(trainer, OneExample("dog"), 2, rng)
    torch.stack(list(first.values())).sum().backward()
    optimizer.step()

    assert losses(trainer, OneExample("dog"), 2, rng)["noun"] < first["noun"]
    assert losses(trainer, OneExample(""), 2, rng)["noun"] == 0


def test_an_answer_that_names_a_held_out_thing_has_no_gradient() -> None:
    torch.manual_seed(0)
    trainer = EncoderTrainer(ImageBind(NANO), "vision")
    examples = OneExample("dog", thing=Thing("image", "dog", "blue"))

    losses(trainer, examples, 2, np.random.default_rng(0))["noun"].backward()

    gradients = dict(zip(NOUNS, trainer.layers["noun"].bias.grad, strict=True))
    excluded = {noun for noun in NOUNS if held_out(Thing("image", noun, "blue"))}
    assert excluded
    assert {noun for noun, gradient in gradients.items() if gradient == 0} == excluded


def test_a_pitch_label_is_a_regression_target() -> None:
    torch.manual_seed(0)
    trainer = EncoderTrainer(ImageBind(NANO), "vision").eval()
    rng = np.random.default_rng(0)

    predicted = trainer(torch.ones(1, 3, 2, 64, 64)).heights
    error = (predicted - heights(torch.tensor([5.0]))).abs().sum()

    assert losses(trainer, OneExample("dog", 5.0), 2, rng)["heights"].item() == pytest.approx(error.item(), 0.05)
    assert losses(trainer, OneExample("dog"), 2, rng)["heights"] == 0


def test_heights_contain_the_position_of_a_pitch_between_its_registers() -> None:
    notes = torch.tensor([note for span in REGISTERS.values() for note in span] + [55.5])
    expected = heights((notes - MIDDLE_C) / 12)

    assert expected[:, 0].tolist() == pytest.approx(((notes - MIDDLE_C) / 12).tolist())
    assert expected[-1, 1:].tolist() == pytest.approx([0.5, 0])
    assert registers(expected[:-1]).tolist() == [index for index, span in enumerate(REGISTERS.values()) for _ in span]


def test_only_training_adds_noise_to_embeddings() -> None:
    trainer = EncoderTrainer(ImageBind(NANO), "vision")
    pixels = torch.randn(2, 3, 2, 64, 64)

    assert (trainer(pixels).logits["noun"] != trainer(pixels).logits["noun"]).any()
    trainer.eval()
    assert (trainer(pixels).logits["noun"] == trainer(pixels).logits["noun"]).all()
    assert with_noise(torch.eye(4)).norm(dim=1).tolist() == pytest.approx([1] * 4)


def test_training_reduces_the_unread_share_of_an_embedding() -> None:
    torch.manual_seed(0)
    trainer = EncoderTrainer(ImageBind(NANO), "vision")
    optimizer = torch.optim.SGD(trainer.encoder.parameters(), 0.5)
    pixels = torch.randn(4, 3, 2, 64, 64)

    first = trainer(pixels).unread
    for _ in range(5):
        trainer(pixels).unread.backward()
        optimizer.step()
        optimizer.zero_grad()

    assert 0 < trainer(pixels).unread < 0.9 * first < 1


def test_only_the_trained_tower_has_gradients() -> None:
    trainer = EncoderTrainer(ImageBind(NANO), "audio")
    trained = [name for name, parameter in trainer.named_parameters() if parameter.requires_grad]

    assert any("modality_trunks.audio" in name for name in trained)
    assert not any(".vision." in name for name in trained)


def test_the_export_contains_both_towers(tmp_path: Path) -> None:
    for tower in ATTRIBUTES:
        loop = TrainingLoop(
            EncoderTrainer(ImageBind(NANO), tower), tmp_path / "build" / tower, Schedule(steps=1, rate=0.1)
        )
        loop.save()

    export(tmp_path / "build", tmp_path / "encoder")

    assert load_imagebind(ModelFolder.unlisted(tmp_path / "encoder")).config == NANO
    dtypes = {value.dtype for value in load_file(tmp_path / "encoder" / "model.safetensors").values()}
    assert dtypes == {torch.float16}
