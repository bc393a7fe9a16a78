"""The signal grammar: which sampled token ids ask for which media (NExT-GPT, ICML 2024, section 3).

A *run* such as `[IMG0] [IMG1] [IMG2] [IMG3]` is one request for one piece of media. The parser reads token ids,
never text: what a user writes can look like a signal but can never be one. It does no I/O, and whatever ids it
is fed, it answers with events and does not raise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from motet.core.errors import BundleError


@dataclass(frozen=True, slots=True)
class Run:
    """The ids of one modality's run: `length` consecutive ids from `first`."""

    modality: str
    first: int
    length: int

    @property
    def ids(self) -> range:
        """The run's ids, in their one right order."""
        return range(self.first, self.first + self.length)


@dataclass(frozen=True, slots=True)
class Grammar:
    """All runs of a model. Raises `BundleError` when two runs share an id or one is empty."""

    runs: tuple[Run, ...]

    def __post_init__(self) -> None:
        seen: dict[int, str] = {}
        for run in self.runs:
            if run.length < 1 or run.first < 0:
                raise BundleError(f"the signal run of {run.modality!r} must hold at least one token id")
            for token in run.ids:
                if token in seen:
                    raise BundleError(
                        f"token id {token} is in the signal runs of both {seen[token]!r} and {run.modality!r}"
                    )
                seen[token] = run.modality

    @classmethod
    def following(cls, first: int, lengths: Mapping[str, int]) -> Grammar:
        """The grammar whose runs stand one after the other from id `first`, in the order of `lengths`."""
        runs = []
        for modality, length in lengths.items():
            runs.append(Run(modality, first, length))
            first += length
        return cls(tuple(runs))

    def run_of(self, modality: str) -> Run:
        """The run of a modality; raises `KeyError` for one the grammar does not have."""
        return {run.modality: run for run in self.runs}[modality]

    def run_holding(self, token: int) -> Run | None:
        """The run that a token id belongs to, or None for ordinary text."""
        return next((run for run in self.runs if token in run.ids), None)


@dataclass(frozen=True, slots=True)
class TextToken:
    """An ordinary token."""

    token: int


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first id of a run was read: its media will probably be wanted soon."""

    modality: str


@dataclass(frozen=True, slots=True)
class RunComplete:
    """Every id of a run was read, in order."""

    modality: str


@dataclass(frozen=True, slots=True)
class RunBroken:
    """A run did not go on as it must: after `seen` of `length` ids came something else, or nothing more.

    `seen` is 0 for an id from the middle of a run that never started.
    """

    modality: str
    seen: int
    length: int

    @property
    def message(self) -> str:
        """The same for a person."""
        return f"the model wrote {self.seen} of the {self.length} tokens that ask for {self.modality}"


SignalEvent = TextToken | RunStarted | RunComplete | RunBroken


class SignalParser:
    """Turns token ids into text tokens and whole or broken runs, one id at a time.

    Each run that starts ends in exactly one `RunComplete` or `RunBroken`; call `close` after the last id.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._run: Run | None = None
        self._seen = 0

    def feed(self, token: int) -> list[SignalEvent]:
        """What one more id means: usually one event, two when it also breaks an open run, none inside a run."""
        if self._run and token == self._run.first + self._seen:
            self._seen += 1
            return self._finished()
        return [*self.close(), *self._open(token)]

    def close(self) -> list[SignalEvent]:
        """The model has stopped: a run that is still open is broken."""
        if self._run is None:
            return []
        broken = RunBroken(self._run.modality, self._seen, self._run.length)
        self._run = None
        return [broken]

    def _open(self, token: int) -> list[SignalEvent]:
        run = self._grammar.run_holding(token)
        if run is None:
            return [TextToken(token)]
        if token != run.first:
            return [RunBroken(run.modality, 0, run.length)]
        self._run, self._seen = run, 1
        return [RunStarted(run.modality), *self._finished()]

    def _finished(self) -> list[SignalEvent]:
        if self._run is None or self._seen < self._run.length:
            return []
        complete = RunComplete(self._run.modality)
        self._run = None
        return [complete]
