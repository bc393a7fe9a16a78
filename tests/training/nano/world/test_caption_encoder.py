"""The frozen caption encoder."""

from __future__ import annotations

import pytest
import torch

from motet.training.nano.world import caption_encoder
from motet.training.nano.world.world import MODALITIES, things


@pytest.mark.parametrize("modality", MODALITIES)
def test_no_two_captions_of_the_world_have_similar_conditioning(modality: str) -> None:
    codes = caption_encoder.encode(modality, ["", *(thing.caption for thing in things(modality))]).flatten(1)
    distances = torch.cdist(codes, codes) + torch.eye(len(codes)) * 1e9
    assert distances.min() > 0.25


def test_shapes_and_scales_match_the_decoders() -> None:
    rows = caption_encoder.encode("image", ["a dog on a blue background", ""])
    assert rows.shape == (2, 8, 128)
    assert torch.allclose(rows.var(dim=-1, unbiased=False), torch.ones(2, 8), atol=1e-3)
    vectors = caption_encoder.encode("audio", ["a low note on a flute", ""])
    assert vectors.shape == (2, 1, 128)
    assert torch.allclose(vectors.norm(dim=-1), torch.ones(2, 1))


def test_the_row_of_a_word_does_not_depend_on_the_other_words() -> None:
    first, second = caption_encoder.encode("image", ["a dog on a blue background", "a cat on a red background"])
    assert torch.equal(first[2], second[2])
    assert not torch.equal(first[1], second[1])


def test_a_caption_of_nine_words_is_an_error() -> None:
    with pytest.raises(ValueError, match="at most 8 words"):
        caption_encoder.encode("video", ["one two three four five six seven eight nine"])


def test_the_encoder_is_the_same_on_every_run() -> None:
    # Decoders and projections were trained with these numbers.
    assert caption_encoder.encode("audio", ["a low note on a flute"])[0, 0, :3].tolist() == pytest.approx(
        EXPECTED, abs=1e-5
    )


EXPECTED = [-0.1395, -0.07408, -0.08465]
