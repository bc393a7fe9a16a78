"""The generation DAG: what is to be made, and after what."""

from __future__ import annotations

from dataclasses import dataclass

from motet.core.errors import FaultError
from motet.core.tensors import Tensor


@dataclass(frozen=True, slots=True)
class MediaJob:
    """One piece of media to make.

    `anchor` is the place in the answer's text, in code points, that the media belong to. `caption` is the text that
    was written for them. `needs` names the earlier steps whose media this one takes as input.
    """

    id: str
    modality: str
    conditioning: Tensor
    anchor: int = 0
    caption: str = ""
    needs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps of one answer, each after the steps it needs.

    The order is the proof: a plan that exists has no cycle and no dangling need.
    """

    steps: tuple[MediaJob, ...] = ()

    def __post_init__(self) -> None:
        made: set[str] = set()
        for step in self.steps:
            if step.id in made:
                raise FaultError(f"two steps are called {step.id!r}")
            if missing := set(step.needs) - made:
                raise FaultError(f"step {step.id!r} needs {sorted(missing)}, which no earlier step makes")
            made.add(step.id)

    def then(self, step: MediaJob) -> Plan:
        """This plan with one step more."""
        return Plan((*self.steps, step))
