"""The random embeddings of an embedding bank."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motet.training.nano.data.embedding_bank import EmbeddingBank
from motet.training.nano.world.world import ANY, MODALITIES, Thing, things, things_without_manner, unbiased_things

WIDTH = 96


def bank_of(modality: str) -> tuple[EmbeddingBank, dict[str, Tensor]]:
    """Return a bank in which each value of an attribute has its own direction, and the directions."""
    every = {
        thing
        for name in MODALITIES
        for kind in (things, things_without_manner, unbiased_things)
        for thing in kind(name)
    }
    values = sorted({value for thing in every if thing.modality == modality for value in (thing.subject, thing.manner)})
    directions = dict(zip(values, torch.eye(WIDTH), strict=False)) | {"": torch.zeros(WIDTH)}
    embeddings = {}
    for thing in every:
        subject, manner = (directions.get(value, torch.zeros(WIDTH)) for value in (thing.subject, thing.manner))
        embeddings[f"{thing.modality}/{thing.subject}/{thing.manner}"] = functional.normalize(subject + manner, dim=0)[
            None
        ]
    return EmbeddingBank(embeddings), directions


@pytest.mark.parametrize(("attribute", "other"), [("subject", "manner"), ("manner", "subject")])
def test_one_attribute_stays_and_the_any_attribute_becomes_random(attribute: str, other: str) -> None:
    torch.manual_seed(0)
    bank, directions = bank_of("audio")
    value = {"subject": "harp", "manner": "low"}[attribute]
    wrong_values = {getattr(thing, attribute) for thing in things("audio")} - {value}
    others = sorted({getattr(thing, other) for thing in things("audio")})

    drawn = bank.draw([Thing("audio", **{attribute: value, other: ANY})] * 200)

    assert drawn.norm(dim=1).tolist() == pytest.approx([1] * 200)
    right, wrong = drawn @ directions[value], torch.stack([drawn @ directions[each] for each in wrong_values])
    assert (right > wrong.amax(dim=0)).float().mean() > 0.95
    nearest = torch.stack([drawn @ directions[each] for each in others]).argmax(dim=0)
    assert len(nearest.unique()) > len(others) / 3


def test_the_embedding_of_a_complete_thing_is_one_of_its_variants_or_between_two() -> None:
    torch.manual_seed(0)
    harp, flute = Thing("audio", "harp", "high"), Thing("audio", "flute", "high")
    first, second, other = torch.eye(WIDTH)[:3]
    bank = EmbeddingBank({"audio/harp/high": torch.stack([first, second]), "audio/flute/high": other[None]})

    drawn = bank.draw([harp] * 200)

    assert drawn.norm(dim=1).tolist() == pytest.approx([1] * 200)
    assert drawn[:, :2].min() >= 0
    assert drawn[:, 2:].abs().max() == 0
    kinds = {(bool(row[0]), bool(row[1])) for row in drawn}
    assert kinds == {(True, False), (False, True), (True, True)}
    torch.testing.assert_close(bank.draw([flute])[0], other)
