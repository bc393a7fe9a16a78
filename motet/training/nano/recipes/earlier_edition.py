"""Continue from the weights of a bundle: the start of an edition that has more signals than the earlier one.

python -m motet.training.nano.recipes.earlier_edition --bundle bundles/nano --build build/fifth

The command copies the bundle to the folder `bundle` of the build folder, where all stages write, and makes a checkpoint
of its autoencoder. It changes nothing that exists.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Annotated

import torch
import typer
from safetensors.torch import load_file, save_file
from torch import Tensor

from motet.models.llm.checkpoint_names import to_v0
from motet.training.nano.recipes.alignment_model import AlignmentModel, exported_name
from motet.training.stages import part_of

MANIFEST_TEMPLATE = Path(__file__).with_name("manifest.yaml")
"""The manifest of the new edition, without the list of files."""


@torch.no_grad()
def load_edition(model: AlignmentModel, bundle: Path) -> None:
    """Load the adapter, the vocabulary and the projections of a bundle.

    The bundle may lack adapted layers, signals and their token ids. Their weights stay untrained: a new adapter has no
    effect, and a new id is as likely as the mean of all ids. Raise ValueError if the bundle has a tensor that the model
    lacks.
    """
    state = model.state_dict()
    names = {exported_name(name): name for name in state if part_of(name) in {"lora", "vocabulary"}}
    names |= {to_v0(name): f"projections.{name}" for name in model.projections.state_dict()}
    saved = load_file(bundle / "lora" / "adapter_model.safetensors")
    saved |= load_file(bundle / "projections" / "model.safetensors")
    if unknown := saved.keys() - names.keys():
        raise ValueError(f"{bundle} has tensors that the new edition lacks: {sorted(unknown)}")
    for name, value in saved.items():
        own = state[names[name]]
        own[: len(value)] = value.float()
        if len(own) > len(value):
            own[len(value) :] += value.float().mean(dim=0) - own[len(value) :].mean(dim=0)


def save_autoencoder_checkpoint(bundle: Path, build: Path) -> None:
    """Write the bundle's autoencoder as a checkpoint, unless there is one."""
    folder = build / "autoencoder" / "step-00000000"
    if (folder / "state.json").exists():
        return
    weights = load_file(bundle / "decoders" / "autoencoder" / "diffusion_pytorch_model.safetensors")
    state: dict[str, Tensor] = {name: value.float().contiguous() for name, value in weights.items()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors")
    (folder / "state.json").write_text(json.dumps({"step": 0, "seconds": 0.0, "losses": {}}))


def main(
    bundle: Annotated[Path, typer.Option(help="Folder of the earlier edition.")] = Path("bundles/nano"),
    build: Annotated[Path, typer.Option(help="Folder of the data and checkpoints.")] = Path("build/fifth"),
) -> None:
    """Copy an edition of the bundle as the start of the next one."""
    save_autoencoder_checkpoint(bundle, build)
    if not (build / "bundle").exists():
        shutil.copytree(bundle, build / "copy", dirs_exist_ok=True)
        shutil.copy(MANIFEST_TEMPLATE, build / "copy" / "bundle.yaml")
        (build / "copy").rename(build / "bundle")
    print(f"{build / 'bundle'} continues {bundle}")


if __name__ == "__main__":
    typer.run(main)
