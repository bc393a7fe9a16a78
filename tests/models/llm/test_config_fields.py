"""A checkpoint that would compute something else than its publisher's code is refused, by the name of the field."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    Ernie4_5Config,
    GemmaConfig,
    GraniteConfig,
    HeliumConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    PretrainedConfig,
    SmolLM3Config,
)

from motet.core.bundle import Bundle, LanguageModelEntry
from motet.core.errors import BundleError
from motet.models.llm.config_fields import check_language_model
from motet.models.llm.layers.checkpoint import CheckpointConfig, LlamaCheckpoint
from motet.models.llm.loading import load_llama, load_tokenizer
from motet.models.llm.network import Llama
from motet.models.llm.projections import Projections, ProjectionsConfig
from motet.training.seal_bundle import seal_bundle
from tests.models.llm.forwards import run_forward
from tests.models.tiny_bundle import tiny_bundle

VICUNA_V0 = LanguageModelEntry(
    path="llm", lora="lora", projections="projections", prompt="vicuna-v0", first_control=32000, max_tokens=2048
)
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def shared_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return tiny_bundle(tmp_path_factory.mktemp("bundle"))


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return tiny_bundle(tmp_path / "bundle")


def refusal(bundle: Bundle, file: str, change: dict[str, Any]) -> str:
    """Change fields of a JSON file of the bundle, and return the message of the error. Restore the file."""
    path = bundle.path(file)
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | change))
    try:
        with pytest.raises(BundleError) as caught:
            load_llama(bundle)
    finally:
        path.write_text(before)
    return caught.value.message


@pytest.mark.parametrize(
    "family", [GemmaConfig, GraniteConfig, HeliumConfig, SmolLM3Config, Ernie4_5Config, MistralConfig]
)
def test_a_checkpoint_of_another_family_is_refused_by_its_model_type(
    shared_bundle: Bundle, family: type[PretrainedConfig]
) -> None:
    config = family(**SIZES).to_dict()

    message = refusal(shared_bundle, "llm/config.json", json.loads(json.dumps(config, default=str)))

    assert message.startswith(f'llm/config.json: model_type must be "llama", not "{family.model_type}"')


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"embedding_multiplier": 12.0}, "embedding_multiplier must be absent, not 12.0"),
        ({"sliding_window": 4096}, "sliding_window must be absent, not 4096"),
        ({"no_rope_layers": [1, 0]}, "no_rope_layers must be absent, not [1, 0]"),
        ({"is_causal": False}, "is_causal must be absent, not false"),
        ({"quantization_config": {"bits": 4}}, "quantization_config must be absent"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor must be absent, not 0.5"),
        ({"output_attentions": True}, "output_attentions must be false, not true"),
        ({"architectures": ["GemmaForCausalLM"]}, 'architectures must be null, or a list of'),
        ({"hidden_act": "gelu"}, 'hidden_act must be "silu", not "gelu"'),
        ({"hidden_size": "32"}, "hidden_size must be an integer"),
        ({"hidden_size": True}, "hidden_size must be an integer"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers must be an integer from 1 to 1000, not 1000000000"),
        ({"num_key_value_heads": 3}, "num_key_value_heads must be a divisor of 2, not 3"),
        ({"head_dim": 3}, "head_dim must be null, or an even number, not 3"),
        ({"hidden_size": 34, "head_dim": None}, "hidden_size must be a multiple of 4, not 34"),
        ({"rms_norm_eps": math.nan}, "rms_norm_eps must be a positive number, not NaN"),
        ({"rms_norm_eps": 10**400}, "rms_norm_eps must be a positive number, not 1000"),
        ({"\x1b[31m\ud800": 1}, "\\x1b[31m\\ud800 must be absent, not 1"),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}}, "rope_parameters must be null, or a rotary"),
        ({"rope_scaling": {"type": "longrope", "factor": 2.0}}, "rope_scaling must be null, or a rotary"),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}, "rope_parameters must be null"),
        ({"rope_scaling": {"type": "linear", "factor": 2.0}}, "rope_scaling must be null, not"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": "x"}}, "rope_parameters must be null, or a rotary"),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": math.nan}}, "rope_parameters must be null, or a"),
        ({"rope_theta": 5e5}, "rope_theta must be 10000.0, not 500000.0"),
        ({"rope_theta": 10**400}, "rope_theta must be null, or a positive number up to 1e12"),
        ({"eos_token_id": [1, 2]}, "eos_token_id must be an integer from 0 to"),
        ({"bos_token_id": None}, "bos_token_id must be an integer from 0 to"),
        ({"eos_token_id": 10**6}, "eos_token_id must be an integer from 0 to"),
        ({"max_position_embeddings": 95}, "max_position_embeddings must be at least 96, which is max_tokens in the"),
        ({"tie_word_embeddings": True}, "tie_word_embeddings must be false, not true"),
    ],
)  # fmt: skip
def test_a_field_that_is_not_implemented_is_refused_with_both_values(
    shared_bundle: Bundle, change: dict[str, Any], expected: str
) -> None:
    assert refusal(shared_bundle, "llm/config.json", change).startswith(f"llm/config.json: {expected}")


def test_the_configs_of_published_checkpoints_are_accepted() -> None:
    vicuna = {
        "_name_or_path": "llama-7b", "architectures": ["LlamaForCausalLM"], "bos_token_id": 1, "eos_token_id": 2,
        "hidden_act": "silu", "hidden_size": 4096, "initializer_range": 0.02, "intermediate_size": 11008,
        "max_position_embeddings": 2048, "max_sequence_length": 2048, "model_type": "llama", "num_attention_heads": 32,
        "num_hidden_layers": 32, "pad_token_id": 0, "rms_norm_eps": 1e-06, "tie_word_embeddings": False,
        "torch_dtype": "float16", "transformers_version": "4.29.2", "use_cache": True, "vocab_size": 32001,
    }  # fmt: skip
    scaled = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    scaled["original_max_position_embeddings"] = 8192
    for config in (vicuna, vicuna | {"rope_theta": 5e5, "rope_scaling": scaled}, LlamaConfig().to_diff_dict()):
        check_language_model("llm/config.json", config | {"model_type": "llama"}, VICUNA_V0)
        assert CheckpointConfig.read(LlamaConfig(**config).to_dict()).head_dim == 128


@pytest.mark.parametrize("fields", [{"attention_bias": True, "mlp_bias": True}, {"head_dim": 8}])
def test_biases_and_another_head_width_compute_what_transformers_computes(fields: dict[str, Any]) -> None:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZES, **fields, vocab_size=40)).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    checkpoint = LlamaCheckpoint(CheckpointConfig.read(model.config.to_dict()))
    checkpoint.load_state_dict(model.state_dict(), assign=True)
    llama = Llama(checkpoint, Projections(ProjectionsConfig(4, 32, {})), positions=32)
    ids = [3, 1, 4, 1, 5, 9]
    with torch.no_grad():
        expected = model.model(input_ids=torch.tensor([ids])).last_hidden_state[0]

    torch.testing.assert_close(run_forward(llama, llama.embed(ids)).states, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"use_dora": True}, "use_dora must be null, false or empty, not true"),
        ({"rank_pattern": {"q_proj": 1}}, "rank_pattern must be null, false or empty"),
        ({"modules_to_save": ["lm_head"]}, "modules_to_save must be null"),
        ({"target_modules": ".*"}, "target_modules must be a list"),
        ({"target_modules": ["embed_tokens"]}, "target_modules must be a list"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights must be true or false or"),
        ({"peft_type": "IA3"}, 'peft_type must be "LORA"'),
        ({"r": 0}, "r must be an integer from 1 to"),
        ({"lora_alpha": None}, "lora_alpha must be a positive number, not null"),
    ],
)
def test_a_field_of_the_adapter_that_is_not_implemented_is_refused(
    shared_bundle: Bundle, change: dict[str, Any], expected: str
) -> None:
    message = refusal(shared_bundle, "lora/adapter_config.json", change)
    assert message.startswith(f"lora/adapter_config.json: {expected}")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"model_width": 64}, "model_width must be 32, the width of the language model, not 64"),
        ({"encoder_width": "16"}, 'encoder_width: Input should be a valid integer, not "16"'),
        ({"outputs": {"image": {"queries": 4, "out_width": 6, "depth": 2}}}, "outputs.image.depth: Unexpected"),
        ({"outputs": {"image": {"queries": 4, "out_width": 6, "width": 7}}}, "outputs.image: Value error, width must"),
        ({"outputs": {"image": {"queries": 4, "out_width": 6, "layers": 10**9}}}, "outputs.image.layers: Input should"),
        ({"outputs": {"image": {"queries": 2**20, "out_width": 6, "width": 2**20}}}, ""),
    ],
)
def test_a_field_of_the_projections_that_is_not_implemented_is_refused(
    shared_bundle: Bundle, change: dict[str, Any], expected: str
) -> None:
    message = refusal(shared_bundle, "projections/config.json", change)
    assert message.startswith(f"projections/config.json: {expected}" if expected else "projections/model.safetensors")


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("llm/model.safetensors", "model.layers.0.mlp.up_proj.weight"),
        ("lora/adapter_model.safetensors", "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"),
        ("projections/model.safetensors", "gen_text_hidden_fcs_audio.0.fc.weight"),
    ],
)
def test_a_parameter_of_another_shape_or_dtype_is_refused_with_its_name(bundle: Bundle, file: str, name: str) -> None:
    path = bundle.path(file)
    state = load_file(path)
    save_file(state | {name: torch.zeros(3, 2)}, path)
    with pytest.raises(BundleError, match=rf"{file}: {name} must have the shape \[.*\], not \[3, 2\]"):
        load_llama(bundle)

    save_file(state | {name: torch.zeros(state[name].shape, dtype=torch.int8)}, path)
    with pytest.raises(BundleError, match=rf"{file}: {name} must have the dtype float32"):
        load_llama(bundle)


def test_other_stop_ids_in_a_generation_config_are_refused(bundle: Bundle) -> None:
    stop = json.loads(bundle.path("llm/config.json").read_text())["eos_token_id"]
    path = bundle.path("llm/generation_config.json")
    path.write_text(json.dumps({"eos_token_id": stop, "temperature": 0.6}))
    load_llama(seal_bundle(bundle.folder))

    path.write_text(json.dumps({"eos_token_id": [stop, 3]}))
    with pytest.raises(BundleError, match=r"llm/generation_config.json: eos_token_id must be \d+ or null, not \["):
        load_llama(seal_bundle(bundle.folder))


def test_two_word_tables_of_a_checkpoint_that_ties_them_must_be_equal(bundle: Bundle) -> None:
    """The bundle has no adapter, and its base has the embeddings of the control tokens."""
    table = load_file(bundle.path("lora/adapter_model.safetensors"))["base_model.model.lm_head.weight"]
    config, weights = bundle.path("llm/config.json"), bundle.path("llm/model.safetensors")
    tied = {"tie_word_embeddings": True, "vocab_size": len(table)}
    config.write_text(json.dumps(json.loads(config.read_text()) | tied))
    state = load_file(weights) | {"model.embed_tokens.weight": table, "lm_head.weight": table.clone()}
    save_file(state, weights)
    manifest = bundle.folder / "bundle.yaml"
    manifest.write_text(manifest.read_text().replace("  lora: lora\n", ""))

    assert torch.equal(load_llama(seal_bundle(bundle.folder)).embed([1])[0], table[1])

    save_file(state | {"lm_head.weight": table + 1}, weights)
    with pytest.raises(BundleError, match="llm/model.safetensors: lm_head.weight must be the token embeddings"):
        load_llama(seal_bundle(bundle.folder))


def test_a_text_token_with_the_id_of_a_control_token_is_refused(bundle: Bundle) -> None:
    """The number of tokens is low, but one of them has a high id."""
    path = bundle.path("llm/tokenizer.json")
    values = json.loads(path.read_text())
    last = max(values["model"]["vocab"], key=values["model"]["vocab"].__getitem__)
    values["model"]["vocab"][last] = bundle.manifest.language_model.first_control
    path.write_text(json.dumps(values))

    with pytest.raises(BundleError, match="llm/tokenizer.json has .* control tokens start at"):
        load_tokenizer(bundle)


def test_a_tokenizer_that_the_manifest_does_not_list_is_refused(bundle: Bundle) -> None:
    files = {name: digest for name, digest in bundle.manifest.files.items() if name != "llm/tokenizer.json"}
    unlisted = Bundle(bundle.folder, bundle.manifest.model_copy(update={"files": files}), bundle.digest)

    with pytest.raises(BundleError, match="llm/tokenizer.json is not listed in the manifest"):
        load_tokenizer(unlisted)
