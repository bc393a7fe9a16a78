import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

from motet.core.bundle import Bundle
from motet.core.errors import BundleError
from motet.models.llm.language_model import load_language_model
from motet.models.llm.layers.checkpoint import CheckpointConfig, rotary_angles
from motet.models.llm.loading import load_checkpoint, load_llama, load_tokenizer
from motet.models.llm.network import Llama
from motet.models.llm.projections import Projections, ProjectionsConfig
from motet.models.llm.prompt.tokenized_prompt import TokenizedPrompt
from motet.training.seal_bundle import seal_bundle
from services.benchmarks.models.stock_libraries import load_transformers_llama
from tests.models.llm.forwards import run_forward
from tests.models.tiny_bundle import WIDTH, tiny_bundle

LINEAR = {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}
LLAMA_3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
LLAMA_3["original_max_position_embeddings"] = 128


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "bundle")


def rewrite(path: Path, parameter: str, drop: bool) -> None:
    """Remove a parameter from the file, or add an unexpected one."""
    state = load_file(path)
    if drop:
        del state[parameter]
    else:
        state[parameter] = torch.zeros(1)
    save_file(state, path, {"format": "pt"})


@pytest.mark.parametrize("drop", [True, False])
@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("llm/model.safetensors", "model.layers.0.mlp.up_proj.weight"),
        ("lora/adapter_model.safetensors", "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"),
        ("lora/adapter_model.safetensors", "base_model.model.lm_head.weight"),
        ("projections/model.safetensors", "gen_text_hidden_fcs_audio.0.fc.weight"),
        ("projections/model.safetensors", "llama_proj.weight"),
    ],
)
def test_a_missing_or_unexpected_parameter_is_refused_with_its_name(
    bundle: Bundle, file: str, name: str, drop: bool
) -> None:
    changed = name if drop else f"{name}.more"
    rewrite(bundle.path(file), changed, drop)

    with pytest.raises(BundleError, match="missing" if drop else "unexpected") as caught:
        load_llama(bundle)

    assert changed in caught.value.message


def test_token_embeddings_of_another_vocabulary_are_refused(bundle: Bundle) -> None:
    path = bundle.path("lora/adapter_model.safetensors")
    state = load_file(path)
    state["base_model.model.model.embed_tokens.weight"] = state["base_model.model.model.embed_tokens.weight"][
        1:
    ].clone()
    save_file(state, path)

    with pytest.raises(BundleError, match="another vocabulary"):
        load_llama(bundle)


def test_a_tokenizer_whose_ids_overlap_the_control_tokens_is_refused(bundle: Bundle) -> None:
    path = bundle.path("llm/tokenizer.json")
    values = json.loads(path.read_text())
    for i in range(5):
        values["model"]["vocab"][f"word{i}"] = len(values["model"]["vocab"])
    path.write_text(json.dumps(values))

    with pytest.raises(BundleError, match="control tokens start at"):
        load_tokenizer(bundle)


def test_projections_that_do_not_match_the_decoders_conditioning_are_refused(bundle: Bundle) -> None:
    manifest = bundle.folder / "bundle.yaml"
    manifest.write_text(manifest.read_text().replace("- 5\n", "- 6\n"))

    with pytest.raises(BundleError, match="has 5 outputs, but its decoder's conditioning is \\[6\\]"):
        load_language_model(Bundle.load(bundle.folder))


def test_projections_of_the_transposed_shape_are_refused(bundle: Bundle) -> None:
    manifest = bundle.folder / "bundle.yaml"
    manifest.write_text(manifest.read_text().replace("- 4\n    - 6\n", "- 6\n    - 4\n"))

    with pytest.raises(BundleError, match="conditioning is \\[6, 4\\]: the manifest must have \\[4, 6\\]"):
        load_language_model(Bundle.load(bundle.folder))


def test_a_checkpoint_and_its_adapter_have_the_bits_of_transformers_and_peft(bundle: Bundle) -> None:
    expected = load_transformers_llama(bundle).state_dict()

    loaded = load_checkpoint(bundle).state_dict()

    assert loaded.keys() == expected.keys()
    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_a_checkpoint_in_several_files_is_loaded_as_one(bundle: Bundle) -> None:
    folder, expected = bundle.path("llm"), load_checkpoint(bundle).state_dict()
    state = load_file(folder / "model.safetensors")
    names = sorted(state)
    files = {name: f"model-0000{1 + (name > names[5])}-of-00002.safetensors" for name in names}
    for file in set(files.values()):
        save_file({name: state[name] for name in names if files[name] == file}, folder / file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))

    loaded = load_checkpoint(seal_bundle(bundle.folder)).state_dict()

    assert all(torch.equal(loaded[name], expected[name]) for name in expected)


def test_loading_a_language_model_imports_no_transformers_no_peft_and_no_compiler(bundle: Bundle) -> None:
    """Each of them would take a second of a command's start, or more."""
    program = (
        "import sys; from pathlib import Path; from motet.core.bundle import Bundle\n"
        "from motet.models.llm.language_model import load_language_model\n"
        f"load_language_model(Bundle.load(Path({str(bundle.folder)!r}))).close()\n"
        "sys.exit(str({'transformers', 'peft', 'torch._dynamo', 'sympy'} & set(sys.modules) or ''))"
    )

    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stderr.strip() == ""


@pytest.mark.parametrize("field", [{"use_dora": True}, {"use_rslora": True}, {"bias": "all"}])
def test_an_adapter_of_another_kind_is_refused_by_the_name_of_the_field(bundle: Bundle, field: dict[str, Any]) -> None:
    path = bundle.path("lora/adapter_config.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | field))

    with pytest.raises(BundleError, match=next(iter(field))):
        load_llama(bundle)


def test_a_base_without_embeddings_of_the_control_tokens_needs_an_adapter(bundle: Bundle) -> None:
    manifest = bundle.folder / "bundle.yaml"
    manifest.write_text(re.sub(r"\n *lora: lora", "", manifest.read_text()))

    with pytest.raises(BundleError, match="lacks the adapter"):
        load_llama(Bundle.load(bundle.folder))


def test_the_adapter_changes_the_logits(bundle: Bundle) -> None:
    def logits() -> torch.Tensor:
        llama = load_llama(bundle)
        return run_forward(llama, llama.embed([1, 2, 3])).logits

    with_adapter = logits()
    path = bundle.path("lora/adapter_model.safetensors")
    state = load_file(path)
    save_file({name: value * (0 if "lora_B" in name else 1) for name, value in state.items()}, path)

    assert (with_adapter - logits()).abs().max() > 1e-3


def test_an_attachment_is_one_vector_between_its_control_tokens(bundle: Bundle) -> None:
    llama = load_llama(bundle)
    vector = torch.randn(1, WIDTH)
    control = bundle.manifest.language_model.first_control
    ids = torch.tensor([1, control, control, control + 1, 2])

    embedded = llama.embed_prompt(TokenizedPrompt(ids, (2,), vector))

    torch.testing.assert_close(embedded[2], llama.projections.llama_proj(vector)[0])


def test_a_packed_forward_computes_what_transformers_computes(bundle: Bundle) -> None:
    """The reference is the forward of transformers with the same weights."""
    llama = load_llama(bundle)
    model = load_transformers_llama(bundle).eval()
    ids = list(range(1, 20))
    with torch.no_grad():
        expected = model.model(input_ids=torch.tensor([ids])).last_hidden_state[0]
        logits = model(input_ids=torch.tensor([ids])).logits[0, -1]

    result = run_forward(llama, llama.embed(ids))

    torch.testing.assert_close(result.states, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(result.logits, logits, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("rope", [{"rope_type": "default", "rope_theta": 5e5}, LINEAR, LLAMA_3])
def test_rotary_angles_have_the_bits_of_transformers(rope: dict[str, Any]) -> None:
    config = LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2,
        rope_parameters=rope,
    )  # fmt: skip
    expected = LlamaRotaryEmbedding(config)(torch.zeros(1), torch.arange(300)[None])

    for given in (config, CheckpointConfig.read(config.to_dict())):
        angles = rotary_angles(given, 300, torch.float32)
        assert all(torch.equal(ours, theirs[0]) for ours, theirs in zip(angles, expected, strict=True))


def test_rotary_tables_of_late_positions_are_exact_in_half_precision() -> None:
    config = LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    exact, _ = model.model.rotary_emb(torch.zeros(1), torch.arange(2000)[None])
    half = Llama(model.to(torch.bfloat16), Projections(ProjectionsConfig(4, 32, {})), positions=2000)

    assert (half._rotary[0][:, 0] - exact[0]).abs().max() < 0.01


def test_a_network_with_fewer_key_heads_than_query_heads_computes_what_transformers_computes(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=40, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    torch.manual_seed(1)
    model = LlamaForCausalLM(config).eval()
    llama = Llama(model, Projections(ProjectionsConfig(4, 32, {})), positions=32)
    ids = [3, 1, 4, 1, 5, 9, 2, 6]
    with torch.no_grad():
        expected = model.model(input_ids=torch.tensor([ids])).last_hidden_state[0]

    torch.testing.assert_close(run_forward(llama, llama.embed(ids)).states, expected, atol=1e-5, rtol=1e-5)
