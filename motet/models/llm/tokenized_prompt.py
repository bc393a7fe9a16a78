"""A conversation as the language model reads it: token ids, and vectors where media stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor

from motet.core.errors import Reason, RequestError
from motet.core.signals import Grammar
from motet.core.workers import Embedding, Turn
from motet.models.arrays import to_torch
from motet.models.llm.chat_template import render_chat
from motet.models.llm.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """`ids`, (tokens,); at each of `places` stands not the id's own vector but the projected embedding.

    `embeddings` is (places, encoder_width).
    """

    ids: Tensor
    places: tuple[int, ...]
    embeddings: Tensor

    def blocks(self, size: int) -> list[bytes]:
        """The names of the script's whole blocks of `size` tokens: each says all that stands up to the block's end."""
        names, name = [], b""
        for start in range(0, len(self.ids) - size + 1, size):
            digest = sha256(name + self.ids[start : start + size].numpy().tobytes())
            for place, vector in zip(self.places, self.embeddings, strict=True):
                if start <= place < start + size:
                    digest.update(place.to_bytes(8, "little") + vector.numpy().tobytes())
            name = digest.digest()
            names.append(name)
        return names


class PromptBuilder:
    """Writes conversations down for one model.

    Control ids are written here and nowhere else: a user's text goes through a codec that knows none.
    """

    def __init__(
        self, codec: Tokenizer, grammar: Grammar, first_control: int, beginning: int, encoder_width: int
    ) -> None:
        self._codec = codec
        self._grammar = grammar
        self._opening, self._closing = first_control, first_control + 1
        self._beginning = beginning
        self._encoder_width = encoder_width

    def write(self, turns: Sequence[Turn], limit: int) -> TokenizedPrompt:
        """The script of a conversation that ends with a user's turn, of at most `limit` tokens.

        Where it is longer, the oldest exchanges are left out, as a reader with a short memory would. Raises
        `RequestError` when the last turn alone is too long, or when it is not a user's.
        """
        if not turns or turns[-1].role != "user":
            raise RequestError("a conversation must end with a user's turn: say what is wanted last")
        starts = [index for index, turn in enumerate(turns) if turn.role == "user"]
        for start in starts:
            script = self._written(turns[start:])
            if len(script.ids) <= limit:
                return script
        raise RequestError(
            f"the last turn takes {len(script.ids)} tokens and at most {limit} are read: shorten it",
            Reason.INPUT_TOO_LARGE,
            {"tokens": str(len(script.ids)), "limit": str(limit)},
        )

    def _written(self, turns: Sequence[Turn]) -> TokenizedPrompt:
        ids, places, embeddings = [self._beginning], [], []
        for piece in render_chat(turns):
            if isinstance(piece.content, str):
                ids += self._codec.encode(piece.content)
            elif piece.spoken:
                ids += self._run(piece.content)
            else:
                places.append(len(ids) + 1)
                embeddings.append(self._vector(piece.content))
                # The id between the two marks only holds the vector's place.
                ids += [self._opening, self._opening, self._closing]
        stacked = torch.stack(embeddings) if embeddings else torch.zeros(0, self._encoder_width)
        return TokenizedPrompt(torch.tensor(ids), tuple(places), stacked)

    def _run(self, made: Embedding) -> list[int]:
        """What the assistant once wrote to ask for these media."""
        try:
            return list(self._grammar.run_of(made.modality).ids)
        except KeyError as error:
            raise RequestError(
                f"an assistant's turn holds {made.modality!r}, which this model does not make: leave it out",
                Reason.MODALITY_NOT_SUPPORTED,
            ) from error

    def _vector(self, attached: Embedding) -> Tensor:
        if attached.tensor.shape != (self._encoder_width,) or attached.tensor.dtype != "float32":
            raise RequestError(
                f"an embedding must be float32 of shape ({self._encoder_width},), "
                f"not {attached.tensor.dtype} of shape {attached.tensor.shape}: use this bundle's encoder",
                Reason.CONDITIONING_INVALID,
            )
        return to_torch(attached.tensor)
