"""All kinds of dialogue that the nano language model learns from, and their shares."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from motet.training.nano.dialogues.dialogue import Dialogue
from motet.training.nano.dialogues.generator import DialogueGenerator
from motet.training.nano.dialogues.kinds.checks import checks
from motet.training.nano.dialogues.kinds.edges import EdgeDialogues
from motet.training.nano.dialogues.kinds.later_questions import later_question
from motet.training.nano.dialogues.kinds.many_requests import many_requests
from motet.training.nano.dialogues.kinds.negations import negation
from motet.training.nano.dialogues.kinds.own_work import own_work

# The kinds of the fourth edition have more than half of all dialogues. A question is the shortest kind, and few of its
# tokens depend on the medium: with 13 % of the dialogues it had 5 % of the tokens, and the model described held-out
# media worse than the fourth edition.
SHARES: Mapping[str, float] = {
    "requests": 0.155,
    "question": 0.25,
    "mixed": 0.035,
    "follow_up": 0.03,
    "chat": 0.055,
    "small_talk": 0.015,
    "several": 0.025,
    "edges": 0.07,
    "edge_chat": 0.05,
    "later_question": 0.055,
    "own_work": 0.025,
    "negation": 0.045,
    "many": 0.10,
    "checks": 0.09,
}


class DialogueMixture:
    """A generator of dialogues of every kind, about things of the training split or of the test split."""

    def __init__(self, test_split: bool = False) -> None:
        self.generator = DialogueGenerator(test_split)
        self._edges = EdgeDialogues(self.generator, test_split)
        self._kinds, shares = list(SHARES), np.array(list(SHARES.values()))
        self._shares = shares / shares.sum()

    def dialogue(self, rng: np.random.Generator, kind: str | None = None) -> Dialogue:
        """Return a dialogue of a kind, or of a random kind. The result depends on `rng` only."""
        kind = kind or str(rng.choice(self._kinds, p=self._shares))
        match kind:
            case "edges":
                return self._edges.one_prompt(rng)
            case "edge_chat":
                return self._edges.conversation(rng)
            case "later_question":
                return later_question(self.generator, rng)
            case "own_work":
                return own_work(self.generator, self._edges, rng)
            case "negation":
                return negation(self.generator, rng)
            case "many":
                return many_requests(self.generator, rng)
            case "checks":
                return checks(self.generator, rng)
            case _:
                return self.generator.dialogue(rng, kind)
