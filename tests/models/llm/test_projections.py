import pytest
import torch

from motet.models.llm.checkpoint_names import to_v0
from motet.models.llm.projections import Projections, ProjectionsConfig, ProjectorConfig, TextFcLayer, alignment_loss


@pytest.mark.parametrize(
    ("queries", "width", "parameters"), [(77, 768, 31_958_784), (77, 1024, 32_090_112), (1, 512, 31_788_544)]
)
def test_the_published_output_projections_have_the_published_number_of_parameters(
    queries: int, width: int, parameters: int
) -> None:
    with torch.device("meta"):
        layer = TextFcLayer(4096, ProjectorConfig(queries, width))

    assert sum(parameter.numel() for parameter in layer.parameters()) == parameters


def test_the_shape_of_the_conditioning_does_not_depend_on_the_length_of_the_run() -> None:
    layer = TextFcLayer(16, ProjectorConfig(5, 7, 8, 2, 1, 16))

    for run in (4, 24):
        states = torch.randn(2, run, 16)
        assert layer(states, states).shape == (2, 5, 7)


def test_parameters_have_the_names_of_v0() -> None:
    sizes = ProjectorConfig(1, 7, 8, 2, 1, 16)
    with torch.device("meta"):
        projections = Projections(ProjectionsConfig(4, 16, {"image": sizes, "video": sizes, "audio": sizes}))
    names = {to_v0(name) for name in projections.state_dict()}

    assert {"llama_proj.weight", "llama_proj.bias", "gen_text_hidden_fcs.0.fc.weight"} <= names
    assert "gen_text_hidden_fcs_video.0.tfm.encoder.layers.0.self_attn.in_proj_weight" in names
    assert {"gen_text_hidden_fcs_audio.0.query_embs", "gen_text_hidden_fcs_audio.0.tfm.decoder.norm.weight"} <= names


def test_the_alignment_loss_is_the_mean_length_of_the_differences() -> None:
    target = torch.zeros(1, 2, 2)
    projected = torch.tensor([[[3.0, 4.0], [0.0, 1.0]]])

    assert alignment_loss(projected, target).item() == pytest.approx(3.0)
