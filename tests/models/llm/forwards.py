"""Helpers to run forwards without an engine, and to record the forwards of an engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from motet.models.llm.layers.attention import TokenRange
from motet.models.llm.layers.kv_cache import KvCache
from motet.models.llm.network import Llama


@dataclass(frozen=True, slots=True)
class ForwardResult:
    """The states of all tokens, (tokens, width), and the logits of the next token, (vocabulary,)."""

    states: Tensor
    logits: Tensor


def run_forward(llama: Llama, embedded: Tensor, cache: KvCache | None = None, start: int = 0) -> ForwardResult:
    """Run one forward of input embeddings, (tokens, width), at the positions from `start` on."""
    count = len(embedded)
    states = llama.forward(embedded, [TokenRange(0, start, count)], cache or llama.cache(96), range(count))
    return ForwardResult(states, llama.logits(states[-1:])[0])


@contextmanager
def recorded_forwards(llama: Llama) -> Iterator[list[Sequence[TokenRange]]]:
    """Record the token ranges of every forward inside the context, when the forward starts."""
    forwards: list[Sequence[TokenRange]] = []
    forward = llama.forward

    def recorded(embedded: Tensor, ranges: Sequence[TokenRange], *rest: Any) -> Tensor:
        forwards.append(ranges)
        return forward(embedded, ranges, *rest)

    llama.forward = recorded  # type: ignore[method-assign]
    try:
        yield forwards
    finally:
        llama.forward = forward  # type: ignore[method-assign]
