"""Has a network read tokens by themselves, for tests of what it says to them; and watches what it is fed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from motet.models.llm.attention import TokenRange
from motet.models.llm.kv_cache import KvCache
from motet.models.llm.network import Llama


@dataclass(frozen=True, slots=True)
class Read:
    """`states` of all tokens, (tokens, width), and the `logits`, (vocabulary,), of what follows."""

    states: Tensor
    logits: Tensor


def read(llama: Llama, embedded: Tensor, cache: KvCache | None = None, start: int = 0) -> Read:
    """Feeds vectors, (tokens, width), in one pass, at positions from `start` on."""
    count = len(embedded)
    states = llama.forward(embedded, [TokenRange(0, start, count)], cache or llama.cache(96), range(count))
    return Read(states, llama.logits(states[-1:])[0])


@contextmanager
def passes_of(llama: Llama) -> Iterator[list[Sequence[TokenRange]]]:
    """Within, every pass through the network is noted, as it begins, with the places it feeds."""
    passes: list[Sequence[TokenRange]] = []
    forward = llama.forward

    def noted(embedded: Tensor, places: Sequence[TokenRange], *rest: Any) -> Tensor:
        passes.append(places)
        return forward(embedded, places, *rest)

    llama.forward = noted  # type: ignore[method-assign]
    try:
        yield passes
    finally:
        llama.forward = forward  # type: ignore[method-assign]
