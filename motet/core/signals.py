"""The signal grammar: the token ids that request media (NExT-GPT, ICML 2024, section 3).

A *run* such as `[IMG0] [IMG1] [IMG2] [IMG3]` requests one media part. The parser reads token ids and never text, so a
user's text cannot become a signal. The parser does no I/O and raises no error, whatever ids it reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from motet.core.errors import BundleError


@dataclass(frozen=True, slots=True)
class Run:
    """The signal run of a modality: `length` consecutive token ids from `first`."""

    modality: str
    first: int
    length: int
    token: str
    """Spelling of the tokens; `{i}` is the index of a token in the run."""

    @property
    def ids(self) -> range:
        """The run's ids, in their only valid order."""
        return range(self.first, self.first + self.length)

    def __str__(self) -> str:
        """Return the spelling of the run, such as "[IMG0] to [IMG3]"."""
        first, last = (self.token.replace("{i}", str(index)) for index in (0, self.length - 1))
        return f"{first} to {last}"


@dataclass(frozen=True, slots=True)
class Grammar:
    """The runs of a model. Raise `BundleError` if two runs share an id or a run is empty."""

    runs: tuple[Run, ...]

    def __post_init__(self) -> None:
        seen: dict[int, str] = {}
        for run in self.runs:
            if run.length < 1 or run.first < 0:
                raise BundleError(f"the signal run of {run.modality!r} must have at least one token id")
            for token in run.ids:
                if token in seen:
                    raise BundleError(
                        f"token id {token} is in the signal runs of both {seen[token]!r} and {run.modality!r}"
                    )
                seen[token] = run.modality

    @classmethod
    def from_lengths(cls, first: int, lengths: Mapping[str, int], tokens: Mapping[str, str] | None = None) -> Grammar:
        """Return the grammar of consecutive runs from id `first`, in the order of `lengths` (modality -> length).

        `tokens` maps a modality to the spelling of its tokens, by default "[MODALITY{i}]".
        """
        spelling = tokens or {modality: f"[{modality}{{i}}]" for modality in lengths}
        runs = []
        for modality, length in lengths.items():
            runs.append(Run(modality, first, length, spelling[modality]))
            first += length
        return cls(tuple(runs))

    def run_of(self, modality: str) -> Run:
        """Return the run of a modality. Raise `KeyError` for an unknown modality."""
        return {run.modality: run for run in self.runs}[modality]

    def run_containing(self, token: int) -> Run | None:
        """Return the run that contains a token id, or None for a text token."""
        return next((run for run in self.runs if token in run.ids), None)


@dataclass(frozen=True, slots=True)
class TextToken:
    """A text token."""

    token: int


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The first id of a run was read. A request for media will probably follow."""

    modality: str


@dataclass(frozen=True, slots=True)
class RunComplete:
    """All ids of a run were read, in order."""

    modality: str


@dataclass(frozen=True, slots=True)
class RunBroken:
    """A run is incomplete: only `seen` of its ids were read in order.

    `seen` is 0 for an id from the middle of a run that has not started.
    """

    run: Run
    seen: int

    @property
    def message(self) -> str:
        """The message for people."""
        return (
            f"the model wrote {self.seen} of the {self.run.length} tokens {self.run}, which request {self.run.modality}"
        )


SignalEvent = TextToken | RunStarted | RunComplete | RunBroken


class SignalParser:
    """A parser from token ids to text tokens, complete runs and broken runs, one id at a time.

    Each `RunStarted` is followed by exactly one `RunComplete` or `RunBroken`. Call `close` after the last id.
    """

    def __init__(self, grammar: Grammar) -> None:
        self._grammar = grammar
        self._run: Run | None = None
        self._seen = 0

    def feed(self, token: int) -> list[SignalEvent]:
        """Parse one id. Return one event, two events if the id breaks an open run, or no event inside a run."""
        if self._run and token == self._run.first + self._seen:
            self._seen += 1
            return self._completed()
        return [*self.close(), *self._open(token)]

    def close(self) -> list[SignalEvent]:
        """End the parsing. Return `RunBroken` if a run is open."""
        if self._run is None:
            return []
        broken = RunBroken(self._run, self._seen)
        self._run = None
        return [broken]

    def _open(self, token: int) -> list[SignalEvent]:
        run = self._grammar.run_containing(token)
        if run is None:
            return [TextToken(token)]
        if token != run.first:
            return [RunBroken(run, 0)]
        self._run, self._seen = run, 1
        return [RunStarted(run.modality), *self._completed()]

    def _completed(self) -> list[SignalEvent]:
        if self._run is None or self._seen < self._run.length:
            return []
        complete = RunComplete(self._run.modality)
        self._run = None
        return [complete]
