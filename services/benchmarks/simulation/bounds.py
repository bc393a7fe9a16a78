"""The bound of each kind of worker: the requests per second that it can serve at most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from motet.core.bundle import Manifest
from services.benchmarks.load.scripted_toys import parse_script
from services.benchmarks.simulation.measured_costs import MeasuredCosts, TickCosts
from services.benchmarks.tracing.spans import LANGUAGE_MODEL

_QUANTILES = tuple((number + 0.5) / 20 for number in range(20))


def request_bounds(
    manifest: Manifest,
    costs: MeasuredCosts,
    prompts: Sequence[str],
    replicas_of: Callable[[str], int],
    slots_of: Callable[[str], int],
) -> Mapping[str, float]:
    """Return the maximum number of requests per second by kind of worker, for requests like these scripted prompts.

    At its bound, each replica of the kind always runs the batch of at most its slots that does the most work in a
    second. So no load is served faster than by the kind with the lowest bound. A kind without work has no bound.
    """
    units = _units(manifest, prompts)
    ticks = {LANGUAGE_MODEL: costs.token, **costs.step}
    return {
        kind: replicas_of(kind) * len(prompts) / (count * _seconds_per_unit(ticks[kind], slots_of(kind)))
        for kind, count in units.items()
        if count
    }


def _units(manifest: Manifest, prompts: Sequence[str]) -> Mapping[str, int]:
    """Return the tokens of the language model, and the denoising steps of each modality, of all prompts."""
    units = Counter[str]()
    for prompt in prompts:
        for item in parse_script(prompt, manifest.independent):
            if isinstance(item, int):
                units[LANGUAGE_MODEL] += item
            else:
                units[LANGUAGE_MODEL] += 1
                units[item] += manifest.decoder_of(item).steps
    return units


def _seconds_per_unit(costs: TickCosts, slots: int) -> float:
    """Return the mean seconds of a token or step, in the best batch of at most `slots`."""
    mean = {
        size: sum(costs.seconds(size, quantile) for quantile in _QUANTILES) / len(_QUANTILES)
        for size in range(1, slots + 1)
    }
    return min(seconds / size for size, seconds in mean.items())
