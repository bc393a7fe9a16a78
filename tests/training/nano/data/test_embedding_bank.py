"""What a bank gives of a thing of which only one attribute is of interest."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from motet.training.nano.data.embedding_bank import EmbeddingBank
from motet.training.nano.world.world import ANY, MODALITIES, Thing, impartial, nameless, things

WIDTH = 96


def bank_of(modality: str) -> tuple[EmbeddingBank, dict[str, Tensor]]:
    """A bank in which each attribute's value is a direction of its own, and those directions."""
    every = {thing for name in MODALITIES for kind in (things, nameless, impartial) for thing in kind(name)}
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
def test_one_attribute_stays_and_the_other_goes_anywhere(attribute: str, other: str) -> None:
    torch.manual_seed(0)
    bank, directions = bank_of("audio")
    told = {"subject": "harp", "manner": "low"}[attribute]
    values = {getattr(thing, attribute) for thing in things("audio")}
    others = sorted({getattr(thing, other) for thing in things("audio")})

    drawn = bank.draw([Thing("audio", **{attribute: told, other: ANY})] * 200)

    assert drawn.norm(dim=1).tolist() == pytest.approx([1] * 200)
    right, wrong = drawn @ directions[told], torch.stack([drawn @ directions[value] for value in values - {told}])
    assert (right > wrong.amax(dim=0)).float().mean() > 0.95
    nearest = torch.stack([drawn @ directions[value] for value in others]).argmax(dim=0)
    assert len(nearest.unique()) > len(others) / 3


def test_of_a_whole_thing_an_embedding_is_given_as_it_is() -> None:
    bank, directions = bank_of("audio")

    (drawn,) = bank.draw([Thing("audio", "harp", "high")])

    assert torch.equal(drawn, functional.normalize(directions["harp"] + directions["high"], dim=0))
