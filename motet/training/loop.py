"""The training loop: steps, weight averages, checkpoints and progress lines.

The caller supplies the losses. A training can be stopped at any moment and started again with the same command: it
resumes from the newest complete checkpoint. The batches are those of an uninterrupted training, because the step
number seeds the random generators of each step. Checkpoints are safetensors and JSON files.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

# The tensors that an optimizer keeps for each parameter.
_OPTIMIZER_STATE: Mapping[type[torch.optim.Optimizer], tuple[str, ...]] = {
    torch.optim.AdamW: ("step", "exp_avg", "exp_avg_sq"),
    torch.optim.Muon: ("momentum_buffer",),
}
# Draws a batch with the generator and returns named losses. The loop minimises their sum.
Losses = Callable[[np.random.Generator], Mapping[str, Tensor]]


@dataclass(frozen=True, slots=True)
class Schedule:
    """The length, the learning rate and the weight average of a training.

    The learning rate rises to `rate` over `warmup` steps, then falls along a cosine to 0 at the end. The training ends
    after `steps` steps, or after `minutes` of this process's CPU time, whichever is first. `average` is the decay of
    the running average of the weights (0: no average), `clip` the largest norm of the gradient, `decay` the weight
    decay.
    """

    steps: int
    rate: float
    warmup: int = 100
    minutes: float | None = None
    average: float = 0.0
    clip: float = 1.0
    decay: float = 1e-2
    seed: int = 0

    def progress(self, step: int, seconds: float) -> float:
        """Return the completed share of the training, 0 to 1."""
        by_time = seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(step / self.steps, by_time))

    def factor(self, step: int, seconds: float) -> float:
        """Return the factor of the learning rate at this step, 0 to 1."""
        return min(1.0, (step + 1) / self.warmup) * 0.5 * (1 + math.cos(math.pi * self.progress(step, seconds)))


class TrainingLoop:
    """A loop that trains the parameters of a module that require gradients, and writes checkpoints.

    Muon (Jordan 2024, scaled as in Liu 2025) trains each matrix whose name contains `hidden`. AdamW trains all other
    parameters. Muon shortens the training of a new transformer by a third: after four minutes on one core the nano
    language model's loss was 0.18 instead of 0.23.
    """

    def __init__(self, module: nn.Module, folder: Path, schedule: Schedule, hidden: str | None = None) -> None:
        self.module, self.folder, self.schedule = module, folder, schedule
        self.trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self.averages = {name: p.detach().clone() for name, p in self.trained.items()} if schedule.average else {}
        matrices = [p for name, p in self.trained.items() if hidden and hidden in name and p.ndim == 2]
        matrix_ids = {id(p) for p in matrices}
        others = [p for p in self.trained.values() if id(p) not in matrix_ids]
        decay = schedule.decay
        self._optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, schedule.rate, betas=(0.9, 0.99), weight_decay=decay)
        ]
        if matrices:
            muon = torch.optim.Muon(matrices, schedule.rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")
            self._optimizers.append(muon)
        self.step = 0
        self.seconds = 0.0
        self._mean_losses: dict[str, float] = {}

    def run(
        self,
        losses: Losses,
        sample: Callable[[], None] | None = None,
        report_interval: float = 15.0,
        save_interval: float = 120.0,
    ) -> None:
        """Train to the end of the schedule, from the newest checkpoint if there is one.

        Print a progress line about every `report_interval` seconds. About every `save_interval` seconds and at the
        end, save a checkpoint, then call `sample` while the module holds the averaged weights. Raise
        FloatingPointError if the loss is not finite.
        """
        self.resume()
        reported = saved = started = time.monotonic()
        before = self.seconds - time.process_time()
        first = self.step
        while self.schedule.progress(self.step, self.seconds) < 1:
            self._advance(losses)
            now = time.monotonic()
            self.seconds = before + time.process_time()
            if now - reported >= report_interval:
                reported = now
                self._report((self.step - first) / (now - started))
            if now - saved >= save_interval:
                self._save_and_sample(sample)
                saved = time.monotonic()
        self._report((self.step - first) / max(1e-9, time.monotonic() - started))
        self._save_and_sample(sample)

    def use_averages(self) -> dict[str, Tensor]:
        """Load the averaged weights into the module, and return the previous weights."""
        previous = {name: p.detach().clone() for name, p in self.trained.items()}
        self._load(self.averages)
        return previous

    def save(self) -> None:
        """Write a checkpoint, then remove the older ones."""
        folder = self.folder / f"step-{self.step:08d}"
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: p.detach().contiguous() for name, p in self.trained.items()}, folder / "model.safetensors")
        if self.averages:
            save_file(self.averages, folder / "average.safetensors")
        save_file(self._optimizer_state(), folder / "optimizer.safetensors")
        state = {"step": self.step, "seconds": self.seconds, "losses": self._mean_losses}
        # The state is the last file: `newest_checkpoint` ignores a folder without it as incomplete.
        (folder / "state.json").write_text(json.dumps(state, indent=2))
        for other in self.folder.glob("step-*"):
            if other != folder:
                shutil.rmtree(other)

    def resume(self) -> None:
        """Load the newest complete checkpoint of the folder. Do nothing if there is none."""
        folder = newest_checkpoint(self.folder)
        if folder is None:
            return
        state = json.loads((folder / "state.json").read_text())
        self.step, self.seconds, self._mean_losses = state["step"], state["seconds"], state["losses"]
        self._load(load_file(folder / "model.safetensors"))
        if self.averages:
            self.averages = load_file(folder / "average.safetensors")
        saved = load_file(folder / "optimizer.safetensors")
        for name, parameter in self.trained.items():
            optimizer = self._optimizer_of(parameter)
            keys = _OPTIMIZER_STATE[type(optimizer)]
            if f"{name}.{keys[0]}" in saved:
                optimizer.state[parameter] = {key: saved[f"{name}.{key}"].clone() for key in keys}
        print(f"resumed at step {self.step} from {folder}", flush=True)

    def _advance(self, losses: Losses) -> None:
        schedule = self.schedule
        rate = schedule.rate * schedule.factor(self.step, self.seconds)
        for group in (group for optimizer in self._optimizers for group in optimizer.param_groups):
            group["lr"] = rate
        torch.manual_seed(schedule.seed * 1_000_003 + self.step)
        named = losses(np.random.default_rng((schedule.seed, self.step)))
        total = torch.stack([loss.float() for loss in named.values()]).sum()
        if not torch.isfinite(total):
            raise FloatingPointError(f"the loss is {total.item()} at step {self.step}: lower the learning rate")
        self.module.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.trained.values(), schedule.clip)
        for optimizer in self._optimizers:
            optimizer.step()
        self.step += 1
        self._update_averages()
        for name, loss in named.items():
            value = loss.item()
            self._mean_losses[name] = 0.98 * self._mean_losses.get(name, value) + 0.02 * value

    @torch.no_grad()
    def _update_averages(self) -> None:
        if self.averages:
            # A smaller decay in the first steps, because the average would otherwise keep the random initial weights.
            decay = min(self.schedule.average, (1 + self.step) / (10 + self.step))
            names = list(self.averages)
            averages = [self.averages[name] for name in names]
            torch._foreach_lerp_(averages, [self.trained[name].detach() for name in names], 1 - decay)

    def _optimizer_state(self) -> dict[str, Tensor]:
        return {
            f"{name}.{key}": value.contiguous()
            for name, parameter in self.trained.items()
            for key, value in self._optimizer_of(parameter).state.get(parameter, {}).items()
        }

    def _optimizer_of(self, parameter: Tensor) -> torch.optim.Optimizer:
        return next(
            optimizer
            for optimizer in self._optimizers
            if any(parameter is p for p in optimizer.param_groups[0]["params"])
        )

    @torch.no_grad()
    def _load(self, weights: Mapping[str, Tensor]) -> None:
        for name, value in weights.items():
            self.trained[name].copy_(value)

    def _save_and_sample(self, sample: Callable[[], None] | None) -> None:
        self.save()
        if sample is None:
            return
        previous = self.use_averages()
        self.module.eval()
        with torch.no_grad():
            sample()
        self.module.train()
        self._load(previous)

    def _report(self, rate: float) -> None:
        progress = self.schedule.progress(self.step, self.seconds)
        left = self.seconds * (1 - progress) / progress if progress else math.inf
        losses = "  ".join(f"{name} {value:.4f}" for name, value in self._mean_losses.items())
        print(f"step {self.step}  {progress:6.1%}  {losses}  {rate:.2f} steps/s  {left / 60:.1f} min left", flush=True)


def newest_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete checkpoint in a training's folder, or None."""
    complete = [path for path in folder.glob("step-*") if (path / "state.json").exists()]
    return max(complete, default=None)


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Load the trained weights of the newest checkpoint, averaged if the training averages them.

    Raise FileNotFoundError if the folder holds no complete checkpoint.
    """
    checkpoint = newest_checkpoint(folder)
    if checkpoint is None:
        raise FileNotFoundError(f"{folder} holds no checkpoint: run the training that writes it first")
    average = checkpoint / "average.safetensors"
    return load_file(average if average.exists() else checkpoint / "model.safetensors")
