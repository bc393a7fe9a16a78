"""The parts of the model that a stage trains."""

import pytest

from motet.training.stages import part_of


@pytest.mark.parametrize(
    ("parameter", "part"),
    [
        ("language.base_model.model.model.layers.0.self_attn.q_proj.lora_A.default.weight", "lora"),
        ("language.base_model.model.model.embed_tokens.weight", "vocabulary"),
        ("language.base_model.model.lm_head.weight", "vocabulary"),
        ("projections.llama_proj.weight", "input_projection"),
        ("projections.outputs.image.fc.weight", "output_projections"),
        ("language.base_model.model.model.layers.0.mlp.up_proj.weight", "base"),
    ],
)
def test_the_name_of_a_parameter_determines_its_part(parameter: str, part: str) -> None:
    assert part_of(parameter) == part
