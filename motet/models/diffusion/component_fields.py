"""The fields of the configs of a decoder's components that are implemented, and their implemented values.

The networks are those of diffusers and transformers. A field is implemented if it needs nothing but the noisy latents,
the timestep and the conditioning. A field without a rule must have the default value of its class.
"""

from __future__ import annotations

from collections.abc import Mapping

from motet.models.config_rules import ANY, BOOLEAN, NUMBER, POSITIVE, Rule, either, integer, list_of, one_of

_SIZE = integer(1, 2**16)
_SIZES = list_of(_SIZE)
_COUNT = integer(1, 100)
_SAMPLE_SIZE = either(_SIZE, Rule("two of them", lambda value: _SIZES.accepts(value) and len(value) == 2))
_ACTIVATION = one_of("silu", "swish", "mish", "gelu", "relu")
_NULL = one_of(None)

BOOKKEEPING: Mapping[str, Rule] = {
    **dict.fromkeys(("_class_name", "_diffusers_version", "_name_or_path", "architectures"), ANY),
    **dict.fromkeys(("transformers_version", "dtype", "torch_dtype", "initializer_range", "dropout"), ANY),
}
"""The fields of every class without an effect on results. Dropout is off except in training."""

_UNET: Mapping[str, Rule] = {
    "sample_size": _SAMPLE_SIZE,
    "in_channels": _SIZE,
    "out_channels": _SIZE,
    "block_out_channels": _SIZES,
    "layers_per_block": either(_COUNT, list_of(_COUNT)),
    "downsample_padding": integer(0, 100),
    "mid_block_scale_factor": POSITIVE,
    "act_fn": _ACTIVATION,
    "norm_num_groups": _SIZE,
    "norm_eps": POSITIVE,
    "cross_attention_dim": either(_SIZE, _SIZES),
    "attention_head_dim": either(_SIZE, _SIZES),
}

UNET_2D: Mapping[str, Rule] = {
    **_UNET,
    "down_block_types": list_of(one_of("DownBlock2D", "CrossAttnDownBlock2D")),
    "mid_block_type": one_of("UNetMidBlock2DCrossAttn", None),
    "up_block_types": list_of(one_of("UpBlock2D", "CrossAttnUpBlock2D")),
    "center_input_sample": BOOLEAN,
    "flip_sin_to_cos": BOOLEAN,
    "freq_shift": NUMBER,
    "transformer_layers_per_block": either(_COUNT, list_of(_COUNT)),
    "use_linear_projection": BOOLEAN,
    "upcast_attention": BOOLEAN,
    "resnet_time_scale_shift": one_of("default", "scale_shift"),
    "class_embed_type": one_of(None, "simple_projection"),
    "class_embeddings_concat": BOOLEAN,
    "projection_class_embeddings_input_dim": either(_NULL, _SIZE),
}

UNET_3D: Mapping[str, Rule] = {
    **_UNET,
    "down_block_types": list_of(one_of("DownBlock3D", "CrossAttnDownBlock3D")),
    "up_block_types": list_of(one_of("UpBlock3D", "CrossAttnUpBlock3D")),
}

AUTOENCODER_KL: Mapping[str, Rule] = {
    "in_channels": _SIZE,
    "out_channels": _SIZE,
    "down_block_types": list_of(one_of("DownEncoderBlock2D")),
    "up_block_types": list_of(one_of("UpDecoderBlock2D")),
    "block_out_channels": _SIZES,
    "layers_per_block": _COUNT,
    "act_fn": _ACTIVATION,
    "latent_channels": _SIZE,
    "norm_num_groups": _SIZE,
    "sample_size": ANY,
    "scaling_factor": POSITIVE,
    **dict.fromkeys(("force_upcast", "use_quant_conv", "use_post_quant_conv", "mid_block_add_attention"), BOOLEAN),
}

PATCH_AUTOENCODER: Mapping[str, Rule] = {
    "in_channels": _SIZE,
    "latent_channels": _SIZE,
    "patch": Rule("an even number", lambda value: integer(2, 64).accepts(value) and value % 2 == 0),
    "width": integer(0, 2**16),
    "scaling_factor": POSITIVE,
}

HIFI_GAN: Mapping[str, Rule] = {
    "model_type": one_of("speecht5_hifigan", "hifigan"),
    "model_in_dim": _SIZE,
    "sampling_rate": integer(1000, 200_000),
    "upsample_initial_channel": _SIZE,
    "upsample_rates": _SIZES,
    "upsample_kernel_sizes": _SIZES,
    "resblock_kernel_sizes": _SIZES,
    "resblock_dilation_sizes": list_of(_SIZES),
    "leaky_relu_slope": NUMBER,
    "normalize_before": BOOLEAN,
}

GRIFFIN_LIM: Mapping[str, Rule] = {
    **dict.fromkeys(("model_in_dim", "hop", "window", "width"), _SIZE),
    "sampling_rate": integer(1000, 200_000),
    "iterations": integer(0, 1000),
    "mean": NUMBER,
    "deviation": POSITIVE,
}

_FRACTION = Rule("a number from 0 to 1", lambda value: NUMBER.accepts(value) and 0 < value < 1)
_DIFFUSION: Mapping[str, Rule] = {
    "num_train_timesteps": integer(1, 100_000),
    "beta_start": _FRACTION,
    "beta_end": _FRACTION,
    "beta_schedule": one_of("linear", "scaled_linear", "squaredcos_cap_v2"),
    "prediction_type": one_of("epsilon", "v_prediction"),
    "timestep_spacing": one_of("linspace", "leading", "trailing"),
    "steps_offset": integer(0, 1000),
    "rescale_betas_zero_snr": BOOLEAN,
    # Schedulers share their configs: each one ignores these fields of the others.
    "set_alpha_to_one": BOOLEAN,
    "skip_prk_steps": BOOLEAN,
    "clip_sample": one_of(False),
    "thresholding": one_of(False),
    **dict.fromkeys(("clip_sample_range", "dynamic_thresholding_ratio", "sample_max_value"), ANY),
}
_CLIPPING: Mapping[str, Rule] = {**_DIFFUSION, "clip_sample": BOOLEAN, "clip_sample_range": POSITIVE}
_SOLVER: Mapping[str, Rule] = {
    **_DIFFUSION,
    "solver_order": integer(1, 3),
    "final_sigmas_type": one_of("zero", "sigma_min"),
    **dict.fromkeys(("lower_order_final", "use_karras_sigmas"), BOOLEAN),
}

SCHEDULERS: Mapping[str, Mapping[str, Rule]] = {
    "DDIMScheduler": _CLIPPING,
    "DDPMScheduler": {**_CLIPPING, "variance_type": one_of("fixed_small", "fixed_large")},
    "PNDMScheduler": _DIFFUSION,
    "EulerDiscreteScheduler": {
        **_DIFFUSION,
        "use_karras_sigmas": BOOLEAN,
        "interpolation_type": one_of("linear", "log_linear"),
    },
    "EulerAncestralDiscreteScheduler": _DIFFUSION,
    "DPMSolverMultistepScheduler": {
        **_SOLVER,
        "algorithm_type": one_of("dpmsolver++", "sde-dpmsolver++"),
        "solver_type": one_of("midpoint", "heun"),
        "euler_at_final": BOOLEAN,
        "use_lu_lambdas": BOOLEAN,
    },
    "UniPCMultistepScheduler": {**_SOLVER, "solver_type": one_of("bh1", "bh2"), "predict_x0": BOOLEAN},
}
"""The schedulers whose step takes the network's output, the timestep and the latents, and the rules of their fields.

Flow matching, which adds noise in another way, is not implemented.
"""
