"""ImageBind's network."""

import pytest
import torch
from torch import nn

from motet.models.encoder.network import Attention, ImageBind, ImageBindConfig, Linear, SoundConfig, VisionConfig

HUGE = ImageBindConfig(1024, VisionConfig(1280, 32, 16, 14, 224), SoundConfig(768, 12, 12))
TINY = ImageBindConfig(24, VisionConfig(32, 2, 4, 8, 32), SoundConfig(16, 1, 2, bins=32, frames=46))

# Large enough for matrix products whose order of summation depends on the batch size.
SMALL = ImageBindConfig(96, VisionConfig(96, 2, 4, 8, 32), SoundConfig(96, 2, 4, bins=32, frames=46))


@pytest.mark.parametrize("extra", [False, True])
def test_attention_matches_that_of_torch_with_equal_parameters(extra: bool) -> None:
    torch.manual_seed(0)
    reference = nn.MultiheadAttention(32, 4, add_bias_kv=extra, batch_first=True)
    attention = Attention(32, 4, extra)
    attention.load_state_dict(reference.state_dict())
    x = torch.randn(2, 5, 32)

    torch.testing.assert_close(attention(x), reference(x, x, x, need_weights=False)[0])


def test_the_huge_model_has_the_parameters_of_the_reference() -> None:
    with torch.device("meta"):
        state = ImageBind(HUGE).state_dict()

    def size(modality: str) -> int:
        return sum(value.numel() for name, value in state.items() if f".{modality}." in name)

    # The counts of facebookresearch/ImageBind 53680b0, without the fixed scale of the audio head.
    assert size("vision") == 632_829_440
    assert size("audio") == 86_235_648
    assert state["modality_preprocessors.vision.rgbt_stem.proj.1.weight"].shape == (1280, 3, 2, 14, 14)
    assert state["modality_preprocessors.vision.pos_embedding_helper.pos_embed"].shape == (1, 257, 1280)
    assert state["modality_preprocessors.audio.pos_embedding_helper.pos_embed"].shape == (1, 229, 768)
    assert state["modality_trunks.audio.blocks.11.attn.bias_k"].shape == (1, 1, 768)
    assert "modality_trunks.vision.pre_transformer_layer.0.weight" in state
    assert state["modality_heads.audio.2.weight"].shape == (1024, 768)


def test_a_picture_has_the_embedding_of_a_clip_of_two_equal_frames() -> None:
    network = ImageBind(TINY).eval()
    picture = torch.randn(1, 3, 32, 32)

    torch.testing.assert_close(network("vision", picture), network("vision", torch.stack([picture, picture], dim=2)))


def test_embeddings_of_both_modalities_have_unit_length() -> None:
    network = ImageBind(TINY).eval()

    for modality, x in (("vision", torch.randn(3, 3, 2, 32, 32)), ("audio", torch.randn(3, 1, 32, 46))):
        embedding = network(modality, x)
        assert embedding.shape == (3, 24)
        torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize(("modality", "shape"), [("vision", (3, 2, 32, 32)), ("audio", (1, 32, 46))])
def test_the_bits_of_an_embedding_do_not_depend_on_the_other_views_of_the_batch(
    modality: str, shape: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    network = ImageBind(SMALL).eval()
    views = torch.randn(11, *shape)

    with torch.inference_mode():
        single = torch.cat([network(modality, view[None]) for view in views])
        for size in (2, 3, 8, 11):
            assert torch.equal(torch.cat([network(modality, batch) for batch in views.split(size)]), single)


def test_in_training_one_matrix_product_takes_the_whole_batch() -> None:
    layer = Linear(64, 32)
    x = torch.randn(5, 7, 64)

    torch.testing.assert_close(layer.train()(x), layer.eval()(x))
    assert torch.equal(layer.train()(x), nn.functional.linear(x, layer.weight, layer.bias))
