"""Write the trained decoders into a bundle, in the folder layout of diffusers and in half precision.

python -m motet.training.nano.recipes.export_decoders --out bundles/nano/decoders
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor

from motet.training.loop import load_weights
from motet.training.nano.recipes.autoencoder import load_autoencoder
from motet.training.nano.recipes.denoiser import DENOISER_TASKS, SCHEDULER
from motet.training.nano.recipes.vocoder import VocoderData, load_vocoder
from motet.training.nano.world import caption_encoder
from motet.training.nano.world.world import MODALITIES


def export(modality: str, build: Path, out: Path) -> None:
    """Replace the folder of one decoder. Raise FileNotFoundError if a training of this decoder has no checkpoint.

    The autoencoder that pictures and clips share goes to `out/autoencoder`.
    """
    folder = out / modality
    shutil.rmtree(folder, ignore_errors=True)
    denoiser: Any = DENOISER_TASKS[modality](build).denoiser()
    denoiser.load_state_dict(load_weights(build / f"denoiser-{modality}"))
    _write(denoiser, folder / "unet")
    DDIMScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    unconditional = caption_encoder.encode(modality, [""])[0].contiguous()
    save_file({"unconditional": unconditional}, folder / "unconditional.safetensors")
    if modality == "audio":
        _write(VocoderData(build).autoencoder, folder / "vae")
        _write(load_vocoder(build), folder / "vocoder")
    else:
        _write(load_autoencoder(build / "autoencoder"), out / "autoencoder")


def _write(network: Any, folder: Path) -> None:
    """Write the network's config, and its weights in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(folder)
    _remove_local_path(folder / "config.json")
    for path in folder.glob("*.safetensors"):
        save_file({name: _half(tensor) for name, tensor in load_file(path).items()}, path, {"format": "pt"})


def _half(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _remove_local_path(path: Path) -> None:
    """Remove the network's path on this machine from a config."""
    config = json.loads(path.read_text())
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def main(
    modalities: Annotated[list[str] | None, typer.Argument(help="Modalities to export. Default: all.")] = None,
    build: Annotated[Path, typer.Option(help="Folder of data and checkpoints.")] = Path("build"),
    out: Annotated[Path, typer.Option(help="Folder of the bundle's decoders.")] = Path("bundles/nano/decoders"),
) -> None:
    """Write the trained decoders into a bundle, and print the size of each."""
    for modality in modalities or MODALITIES:
        export(modality, build, out)
    for folder in sorted(path for path in out.iterdir() if path.is_dir()):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{folder}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    typer.run(main)
