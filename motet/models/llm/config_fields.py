"""The fields of a language model's configs that are implemented, and their implemented values.

Models of other families have the same parameters as a LLaMA and compute something else. So `model_type` and every field
are checked. A family is supported if `FAMILIES` contains its rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from motet.core.bundle import LanguageModelEntry
from motet.models.config_rules import (
    ANY,
    BOOLEAN,
    POSITIVE,
    Rule,
    check_field,
    check_fields,
    either,
    integer,
    list_of,
    one_of,
)

_ROTARY_FIELDS: Mapping[str, frozenset[str]] = {
    "default": frozenset(),
    "linear": frozenset({"factor"}),
    "llama3": frozenset({"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}),
}
"""The types of rotary embedding that do not depend on the length of a sequence, and their fields."""
_LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_WIDTH = integer(1, 2**20)
_ANGLE = Rule("a positive number up to 1e12", lambda value: POSITIVE.accepts(value) and value <= 1e12)


def _is_rotary(value: Any) -> bool:
    if not isinstance(value, Mapping):
        return False
    kind = value.get("rope_type", value.get("type", "default"))
    fields = _ROTARY_FIELDS.get(kind) if isinstance(kind, str) else None
    given = set(value) - {"rope_type", "type"}
    return fields is not None and given - {"rope_theta"} == fields and all(_ANGLE.accepts(value[key]) for key in given)


_ROTARY = either(one_of(None), Rule(f"a rotary embedding of the type {', '.join(_ROTARY_FIELDS)}", _is_rotary))

_LLAMA: Mapping[str, Rule] = {
    "model_type": one_of("llama"),
    "architectures": either(one_of(None), list_of(one_of("LlamaForCausalLM", "LLaMAForCausalLM"))),
    "vocab_size": _WIDTH,
    "hidden_size": _WIDTH,
    "intermediate_size": _WIDTH,
    "num_hidden_layers": integer(1, 1000),
    "num_attention_heads": integer(1, 4096),
    "num_key_value_heads": either(one_of(None), integer(1, 4096)),
    "head_dim": either(one_of(None), Rule("an even number", lambda value: _WIDTH.accepts(value) and value % 2 == 0)),
    "hidden_act": one_of("silu"),
    "rms_norm_eps": POSITIVE,
    "attention_bias": BOOLEAN,
    "mlp_bias": BOOLEAN,
    "tie_word_embeddings": BOOLEAN,
    "rope_theta": either(one_of(None), _ANGLE),
    "rope_scaling": _ROTARY,
    "rope_parameters": _ROTARY,
    # These fields have an effect only in training, in other libraries, or in another dtype.
    **dict.fromkeys(("initializer_range", "attention_dropout", "use_cache", "pretraining_tp", "pad_token_id"), ANY),
    **dict.fromkeys(("dtype", "torch_dtype", "transformers_version", "_name_or_path", "max_sequence_length"), ANY),
}
_LLAMA_DEFAULTS: Mapping[str, Any] = {
    "hidden_act": "silu",
    "rms_norm_eps": 1e-6,
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "max_position_embeddings": 2048,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "is_encoder_decoder": False,
    "output_attentions": False,
    "output_hidden_states": False,
    "return_dict": True,
}
FAMILIES: Mapping[str, tuple[Mapping[str, Rule], Mapping[str, Any]]] = {"llama": (_LLAMA, _LLAMA_DEFAULTS)}
"""The rules and the default values of the fields of `config.json`, by `model_type`."""

_ADAPTER: Mapping[str, Rule] = {
    "peft_type": one_of("LORA", None),
    "task_type": one_of("CAUSAL_LM", None),
    "r": integer(1, 65536),
    "lora_alpha": POSITIVE,
    "target_modules": list_of(one_of(*_LINEAR_LAYERS)),
    "bias": one_of("none", None),
    # Other initial values change the weights of the base, too.
    "init_lora_weights": one_of(True, False, "gaussian", None),
    # These fields have an effect only in training or in other libraries.
    **dict.fromkeys(("lora_dropout", "inference_mode", "base_model_name_or_path", "revision", "peft_version"), ANY),
    **dict.fromkeys(("megatron_core", "qalora_group_size"), ANY),
}


def check_language_model(label: str, config: Mapping[str, Any], entry: LanguageModelEntry) -> None:
    """Check the `config.json` of a base model, for its entry in the manifest.

    Raises `BundleError`, which names the file, the field, and the implemented and the found value.
    """
    check_field(label, "model_type", config.get("model_type"), one_of(*FAMILIES))
    rules, defaults = FAMILIES[config["model_type"]]
    token = integer(0, entry.first_control - 1)
    check_fields(label, config, {**rules, **_limits(entry), "bos_token_id": token, "eos_token_id": token}, defaults)
    heads, key_heads = config["num_attention_heads"], config.get("num_key_value_heads")
    if key_heads is not None:
        check_field(label, "num_key_value_heads", key_heads, Rule(f"a divisor of {heads}", lambda n: heads % n == 0))
    if config.get("head_dim") is None:
        divisible = Rule(f"a multiple of {2 * heads}", lambda width: width % (2 * heads) == 0)
        check_field(label, "hidden_size", config["hidden_size"], divisible)
    rotary = config.get("rope_parameters")
    if rotary and config.get("rope_scaling"):
        check_field(label, "rope_scaling", config["rope_scaling"], one_of(None))
    if rotary and config.get("rope_theta") is not None:
        check_field(label, "rope_theta", config["rope_theta"], one_of(rotary.get("rope_theta")))


def check_adapter(label: str, config: Mapping[str, Any]) -> None:
    """Check an `adapter_config.json` of peft. Raises `BundleError` like `check_language_model`.

    A field without a rule must be off. That is the default of every option that peft added over the years.
    """
    check_fields(label, config, _ADAPTER)


def _limits(entry: LanguageModelEntry) -> dict[str, Rule]:
    positions = entry.max_tokens
    limits = {
        "max_position_embeddings": Rule(
            f"at least {positions}, which is max_tokens in the manifest",
            lambda value: integer(positions, 2**40).accepts(value),
        )
    }
    if entry.lora is not None:
        # The adapter has a table of token embeddings and another one of output weights.
        limits["tie_word_embeddings"] = one_of(False)
    return limits
