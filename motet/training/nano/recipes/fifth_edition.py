"""Train the fifth edition of the nano bundle from the fourth one.

    python -m motet.training.nano.recipes.fifth_edition --background
    python -m motet.training.nano.recipes.fifth_edition --status

Two stages train at the same time, each on one core: the clip denoiser, and the language model with its projections.
With `--threads 2` they train one after the other, each on both cores, and `--only` selects one of them. All results are
in `build/fifth/bundle`. The same command continues after an interruption, from the newest checkpoints.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

from motet.training.pipeline import PipelineStep, TrainingPipeline, python_module, run_in_background

_RECIPES = "motet.training.nano.recipes"
_TRAININGS = ("language-model", "clip-denoiser")
# Length of each output projection's training in minutes, and the number of signal runs.
_PROJECTIONS = {"image": ("1.8", "1000"), "video": ("3", "1400"), "audio": ("0.8", "1000"), "animation": ("0.8", "600")}


def steps(build: Path, source: Path, share: float = 1.0, threads: int = 1) -> list[PipelineStep]:
    """Return all steps. `share` multiplies the length of every training. `threads` are those of the long ones."""
    bundle, alignment = str(build / "bundle"), str(build / "alignment")

    def minutes(full: float) -> str:
        return str(full * share)

    start = python_module(f"{_RECIPES}.earlier_edition", "--bundle", str(source), "--build", str(build))
    denoiser = python_module(
        *(f"{_RECIPES}.denoiser", "video", "--build", str(build), "--initial", str(source / "decoders/video/unet")),
        *("--minutes", minutes(260), "--rate", "1.5e-3", "--average", "0.998", "--threads", str(threads)),
    )
    instruction = python_module(
        *(f"{_RECIPES}.alignment", "instruction", "--build", alignment, "--bundle", bundle, "--initial", str(source)),
        *("--minutes", minutes(260), "--rate", "1e-3", "--base", "--threads", str(threads)),
    )
    listed = [
        PipelineStep("start", start),
        PipelineStep("language-model", instruction, ("start",)),
        PipelineStep("clip-denoiser", denoiser, ("start",)),
    ]
    # One after the other, because all of them write the same file.
    previous = "language-model"
    for modality, (length, count) in _PROJECTIONS.items():
        command = python_module(
            *(f"{_RECIPES}.output_projections", modality, "--build", alignment, "--bundle", bundle),
            *("--minutes", minutes(float(length)), "--count", count),
        )
        listed.append(PipelineStep(f"projection-{modality}", command, (previous,)))
        previous = f"projection-{modality}"
    export = python_module(f"{_RECIPES}.export_decoders", "video", "--build", str(build), "--out", f"{bundle}/decoders")
    listed.append(PipelineStep("export", export, ("clip-denoiser",)))
    seal = python_module("motet.training.seal_bundle", bundle)
    listed.append(PipelineStep("seal", seal, ("export", previous)))
    evaluation = ("--bundle", bundle, "--json", "--out", str(build / "evaluation.json"))
    listed.append(
        PipelineStep("evaluation", python_module("services.benchmarks.quality.nano_eval", *evaluation), ("seal",))
    )
    return listed


def only_needed(listed: list[PipelineStep], name: str) -> list[PipelineStep]:
    """Return one training, and the steps before and after it that need no other training. "" is for all steps.

    Raise ValueError for a name that is no training.
    """
    if not name:
        return listed
    if name not in _TRAININGS:
        raise ValueError(f"{name!r} is not a training: use one of {', '.join(_TRAININGS)}")
    others = {training for training in _TRAININGS if training != name}
    for step in listed:
        if others.intersection(step.needs):
            others.add(step.name)
    return [step for step in listed if step.name not in others]


def main(
    build: Annotated[Path, typer.Option(help="Folder of the data, checkpoints and logs.")] = Path("build/fifth"),
    source: Annotated[Path, typer.Option(help="Folder of the edition to continue.")] = Path("bundles/nano"),
    share: Annotated[float, typer.Option(help="Share of each training's length, for a rehearsal.")] = 1.0,
    threads: Annotated[int, typer.Option(help="CPU threads of each long training. With 2, one trains at a time.")] = 1,
    only: Annotated[str, typer.Option(help="Train language-model or clip-denoiser only. Default: both.")] = "",
    background: Annotated[bool, typer.Option("--background", help="Return at once, and train on.")] = False,
    status: Annotated[bool, typer.Option("--status", help="Print the state of each stage.")] = False,
) -> None:
    """Train the fifth edition, or continue its training."""
    try:
        listed = only_needed(steps(build, source, share, threads), only)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    pipeline = TrainingPipeline(listed, build / "stages", slots=1 if threads > 1 else 2)
    if status:
        print("\n".join(pipeline.status()))
        return
    if background:
        options = (
            *("--build", str(build), "--source", str(source), "--share", str(share)),
            *("--threads", str(threads), "--only", only),
        )
        process = run_in_background(python_module(f"{_RECIPES}.fifth_edition", *options), build / "stages" / "all.log")
        print(f"process {process} trains; add --status to the command to see its state")
        return
    # A terminated pipeline terminates its stages.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if unfinished := pipeline.run():
        print(f"not complete: {', '.join(unfinished)}; see the logs in {build / 'stages'}", file=sys.stderr)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
