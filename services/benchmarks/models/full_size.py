"""Models with random weights, in the published shapes and in small ones for tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import diffusers
import torch
from transformers import LlamaConfig, LlamaForCausalLM, SpeechT5HifiGan, SpeechT5HifiGanConfig

from motet.core.bundle import Bundle, DecoderEntry
from motet.media import encode
from motet.models.diffusion.cost_curve import CostCurve
from motet.models.diffusion.decoder import DiffusionDecoder
from motet.models.diffusion.kinds.audioldm import AudioLDM
from motet.models.diffusion.kinds.stable_diffusion import StableDiffusion
from motet.models.diffusion.kinds.text_to_video import TextToVideo
from motet.models.llm.config import EngineConfig
from motet.models.llm.language_model import LlamaLanguageModel
from motet.models.llm.loading import load_tokenizer
from motet.models.llm.network import Llama
from motet.models.llm.projections import Projections, ProjectionsConfig, ProjectorConfig
from motet.models.llm.prompt.prompt_builder import PromptBuilder
from motet.models.llm.response_state import ModelContext
from motet.models.llm.token_mask import token_mask

PICTURE, SOUND, CLIP = "image", "audio", "video"
_CROSS, _PLAIN = ("CrossAttnDownBlock2D", "CrossAttnUpBlock2D"), ("DownBlock2D", "UpBlock2D")


@dataclass(frozen=True, slots=True)
class ModelSizes:
    """The sizes of all models.

    `llama` are fields of `LlamaConfig`. `blocks`, `sound_blocks` and `vae_blocks` are the channels of each block of a
    U-Net or autoencoder, and `groups` the groups of their norms. `conditioning` is the shape of a modality's
    conditioning, and `options` are the options of its decoder. `vocoder` are fields of `SpeechT5HifiGanConfig`. `head`
    and `clip_head` are attention head dimensions. A benchmark generates `tokens` tokens a response and runs `steps`
    denoising steps.
    """

    llama: dict[str, int]
    blocks: tuple[int, ...]
    sound_blocks: tuple[int, ...]
    vae_blocks: tuple[int, ...]
    groups: int
    conditioning: dict[str, tuple[int, int]]
    options: dict[str, dict[str, float]]
    vocoder: dict[str, Any]
    head: int
    clip_head: int
    tokens: int
    steps: int


FULL = ModelSizes(
    # Vicuna 7B; SD 1.5 at 512 x 512; AudioLDM-L, 5 s; ZeroScope 576w, 16 frames.
    llama={"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32},
    blocks=(320, 640, 1280, 1280),
    sound_blocks=(256, 512, 768, 1280),
    vae_blocks=(128, 256, 512, 512),
    groups=32,
    conditioning={PICTURE: (77, 768), SOUND: (1, 512), CLIP: (77, 1024)},
    options={
        PICTURE: {"height": 512, "width": 512},
        SOUND: {"seconds": 5},
        CLIP: {"height": 320, "width": 576, "frames": 16, "frames_per_second": 8},
    },
    vocoder={
        "model_in_dim": 64,
        "upsample_initial_channel": 1024,
        "upsample_rates": [5, 4, 2, 2, 2],
        "upsample_kernel_sizes": [16, 16, 8, 4, 4],
    },
    head=8,
    clip_head=64,
    tokens=128,
    steps=20,
)

TINY = ModelSizes(
    llama={"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
    blocks=(8, 8, 8, 8),
    sound_blocks=(8, 8, 8, 8),
    vae_blocks=(8, 8, 8, 8),
    groups=4,
    conditioning={PICTURE: (4, 8), SOUND: (1, 8), CLIP: (4, 8)},
    options={
        PICTURE: {"height": 64, "width": 64},
        SOUND: {"seconds": 0.2},
        CLIP: {"height": 64, "width": 64, "frames": 2, "frames_per_second": 2},
    },
    vocoder={
        "model_in_dim": 64,
        "upsample_initial_channel": 16,
        "upsample_rates": [5, 4, 4, 2],
        "upsample_kernel_sizes": [10, 8, 8, 4],
        # With the default range, an untrained vocoder is so quiet that 16 bits round every sound to silence.
        "initializer_range": 0.3,
    },
    head=2,
    clip_head=4,
    tokens=8,
    steps=2,
)


def llama_of(sizes: ModelSizes, tokens: LlamaConfig, vocabulary: int, device: str) -> LlamaForCausalLM:
    """Return a LLaMA with the special tokens of another configuration."""
    config = LlamaConfig(
        **sizes.llama,
        vocab_size=vocabulary,
        max_position_embeddings=2048,
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        tie_word_embeddings=False,
    )
    return _build(lambda: LlamaForCausalLM(config), device)


def language_model_of(model: LlamaForCausalLM, bundle: Bundle, config: EngineConfig) -> LlamaLanguageModel:
    """Return Motet's engine around a LLaMA, with the tokenizer and the signals of a bundle."""
    manifest = bundle.manifest
    first, grammar, tokenizer = manifest.language_model.first_control, manifest.grammar, load_tokenizer(bundle)
    shapes = dict.fromkeys(manifest.signals, (1, 8))
    outputs = {name: ProjectorConfig(1, 8, 8, 1, 1, 8) for name in shapes}
    width = model.config.hidden_size
    projections = Projections(ProjectionsConfig(8, width, outputs)).to(model.device)
    llama = Llama(model, projections, 2048, max(run.length for run in grammar.runs))
    mask = token_mask(grammar, first, llama.bos_token_id, llama.vocabulary_size).to(llama.device)
    context = ModelContext(llama, tokenizer, grammar, mask, shapes, 2048)
    return LlamaLanguageModel(context, PromptBuilder(tokenizer, grammar, first, llama.bos_token_id, 8), config)


def diffusion_model_of(modality: str, sizes: ModelSizes, device: str) -> Any:
    """Return the diffusion model of a modality."""
    shared: dict[str, Any] = {
        "scheduler": diffusers.DDIMScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False, steps_offset=1
        ),
        "unconditional": torch.zeros(sizes.conditioning[modality]),
        "options": sizes.options[modality],
    }
    if modality == SOUND:
        vocoder = SpeechT5HifiGanConfig(**sizes.vocoder, sampling_rate=16000, normalize_before=False)
        return AudioLDM(
            _build(lambda: SpeechT5HifiGan(vocoder), device),
            unet=_build(lambda: _sound_unet(sizes), device),
            vae=_build(lambda: _vae(1, 8, sizes.vae_blocks[:3], sizes.groups), device),
            **shared,
        )
    kind, unet = (StableDiffusion, _picture_unet) if modality == PICTURE else (TextToVideo, _clip_unet)
    networks = {
        "unet": _build(lambda: unet(sizes), device),
        "vae": _build(lambda: _vae(3, 4, sizes.vae_blocks, sizes.groups), device),
    }
    return kind(**networks, **shared)


def decoder_of(modality: str, model: Any, sizes: ModelSizes, curve: CostCurve) -> DiffusionDecoder:
    """Return Motet's engine around a diffusion model, with a cost curve."""
    kinds = {PICTURE: "stable-diffusion", SOUND: "audioldm", CLIP: "text-to-video-sd"}
    types = {PICTURE: "image/png", SOUND: "audio/wav", CLIP: "video/mp4"}
    entry = DecoderEntry(
        kind=kinds[modality],
        path=f"decoders/{modality}",
        conditioning=list(sizes.conditioning[modality]),
        media_type=types[modality],
        steps=sizes.steps,
        guidance=7.5,
        options=sizes.options[modality],
    )
    to_media: dict[str, Any] = {
        PICTURE: encode.encode_picture,
        SOUND: lambda wave: encode.encode_sound(wave, 16000),
        CLIP: lambda frames: encode.encode_clip(frames, sizes.options[CLIP]["frames_per_second"]),
    }
    return DiffusionDecoder(modality, entry, model, to_media[modality], lambda _: curve)


def _picture_unet(sizes: ModelSizes) -> Any:
    return diffusers.UNet2DConditionModel(
        sample_size=int(sizes.options[PICTURE]["height"]) // 8,
        block_out_channels=sizes.blocks,
        down_block_types=(*[_CROSS[0]] * 3, _PLAIN[0]),
        up_block_types=(_PLAIN[1], *[_CROSS[1]] * 3),
        cross_attention_dim=sizes.conditioning[PICTURE][1],
        attention_head_dim=sizes.head,
        norm_num_groups=sizes.groups,
    )


def _sound_unet(sizes: ModelSizes) -> Any:
    return diffusers.UNet2DConditionModel(
        sample_size=128,
        in_channels=8,
        out_channels=8,
        block_out_channels=sizes.sound_blocks,
        down_block_types=(_PLAIN[0], *[_CROSS[0]] * 3),
        up_block_types=(*[_CROSS[1]] * 3, _PLAIN[1]),
        cross_attention_dim=sizes.sound_blocks,
        attention_head_dim=sizes.head,
        norm_num_groups=sizes.groups,
        class_embed_type="simple_projection",
        class_embeddings_concat=True,
        projection_class_embeddings_input_dim=sizes.conditioning[SOUND][1],
    )


def _clip_unet(sizes: ModelSizes) -> Any:
    return diffusers.UNet3DConditionModel(
        sample_size=int(sizes.options[CLIP]["height"]) // 8,
        block_out_channels=sizes.blocks,
        cross_attention_dim=sizes.conditioning[CLIP][1],
        attention_head_dim=sizes.clip_head,
        norm_num_groups=sizes.groups,
    )


def _vae(channels: int, latent_channels: int, blocks: tuple[int, ...], groups: int) -> Any:
    return diffusers.AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        latent_channels=latent_channels,
        block_out_channels=blocks,
        down_block_types=("DownEncoderBlock2D",) * len(blocks),
        up_block_types=("UpDecoderBlock2D",) * len(blocks),
        layers_per_block=2,
        norm_num_groups=groups,
    )


def _build(create: Any, device: str) -> Any:
    """Return a network for inference: in float32 on a CPU, in bfloat16 on other devices."""
    torch.manual_seed(0)
    with torch.device(device):
        network = create()
    return network.to(torch.float32 if device == "cpu" else torch.bfloat16).requires_grad_(False).eval()
