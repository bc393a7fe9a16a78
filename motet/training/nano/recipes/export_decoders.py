"""Writes what was trained into a bundle's decoder folders, as diffusers lays them out, in half precision.

python -m motet.training.nano.recipes.export_decoders --out bundles/nano/decoders
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from diffusers import DDIMScheduler
from safetensors.torch import load_file, save_file
from torch import Tensor

from motet.training import loop
from motet.training.nano.recipes import autoencoder, vocoder
from motet.training.nano.recipes.denoiser import SCHEDULER
from motet.training.nano.recipes.denoiser_kinds import DENOISER_TASKS
from motet.training.nano.recipes.vocoder import Heard
from motet.training.nano.world import caption_encoder
from motet.training.nano.world.world import MODALITIES


def export(modality: str, build: Path, out: Path) -> None:
    """Writes one decoder's folder anew. Raises FileNotFoundError when one of its trainings has not run.

    Pictures and clips share an autoencoder, which is written to `out/autoencoder`.
    """
    folder = out / modality
    shutil.rmtree(folder, ignore_errors=True)
    denoiser: Any = DENOISER_TASKS[modality](build).denoiser()
    denoiser.load_state_dict(loop.weights(build / f"denoiser-{modality}"))
    _write(denoiser, folder / "unet")
    DDIMScheduler(**SCHEDULER).save_pretrained(folder / "scheduler")
    unconditional = caption_encoder.encode(modality, [""])[0].contiguous()
    save_file({"unconditional": unconditional}, folder / "unconditional.safetensors")
    if modality == "audio":
        _write(Heard(build).coder, folder / "vae")
        _write(vocoder.load(build), folder / "vocoder")
    else:
        _write(autoencoder.load(build / "autoencoder"), out / "autoencoder")


def _write(network: Any, folder: Path) -> None:
    """The network's config and its weights in float16."""
    folder.mkdir(parents=True, exist_ok=True)
    network.save_pretrained(folder)
    _strip(folder / "config.json")
    for path in folder.glob("*.safetensors"):
        save_file({name: _half(tensor) for name, tensor in load_file(path).items()}, path, {"format": "pt"})


def _half(tensor: Tensor) -> Tensor:
    return tensor.half() if tensor.is_floating_point() else tensor


def _strip(path: Path) -> None:
    """Takes out of a config where on this machine it came from."""
    config = json.loads(path.read_text())
    config.pop("_name_or_path", None)
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def main() -> None:
    """Exports the decoders that are asked for and prints the size of each."""
    parser = argparse.ArgumentParser(
        prog="motet.training.nano.recipes.export_decoders", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("modalities", nargs="*", default=list(MODALITIES), help="default: all")
    parser.add_argument("--build", type=Path, default=Path("build"), help="where the trainings wrote")
    parser.add_argument("--out", type=Path, default=Path("bundles/nano/decoders"))
    options = parser.parse_args()
    for modality in options.modalities:
        export(modality, options.build, options.out)
    for folder in sorted(path for path in options.out.iterdir() if path.is_dir()):
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"{folder}: {size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
