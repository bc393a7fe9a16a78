"""Prompts as the language model reads them: token ids, and embeddings at the positions of media."""

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
    """The token ids of a prompt, (tokens,), and the embeddings of its media, (media, encoder_width).

    At each of `media_positions`, the model reads a projected embedding instead of the embedding of the token id.
    """

    ids: Tensor
    media_positions: tuple[int, ...]
    embeddings: Tensor

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.ids)

    def block_hashes(self, block_size: int) -> list[bytes]:
        """Return the hash of each full block of `block_size` tokens. A hash also covers all blocks before its own."""
        hashes, block_hash = [], b""
        for start in range(0, len(self) - block_size + 1, block_size):
            digest = sha256(block_hash + self.ids[start : start + block_size].numpy().tobytes())
            for position, vector in zip(self.media_positions, self.embeddings, strict=True):
                if start <= position < start + block_size:
                    digest.update(position.to_bytes(8, "little") + vector.numpy().tobytes())
            block_hash = digest.digest()
            hashes.append(block_hash)
        return hashes


class PromptBuilder:
    """A converter from conversations to prompts of one model.

    Only this class writes control token ids. The tokenizer of user text does not know control tokens.
    """

    def __init__(
        self, tokenizer: Tokenizer, grammar: Grammar, first_control: int, bos_token_id: int, encoder_width: int
    ) -> None:
        self._tokenizer = tokenizer
        self._grammar = grammar
        self._media_start, self._media_end = first_control, first_control + 1
        self._bos_token_id = bos_token_id
        self._encoder_width = encoder_width

    def build(self, turns: Sequence[Turn], limit: int) -> TokenizedPrompt:
        """Return the prompt of a conversation, of at most `limit` tokens.

        A prompt that is too long loses its oldest exchanges. Raises `RequestError` if the last turn alone is too long,
        or is not a user's turn.
        """
        if not turns or turns[-1].role != "user":
            raise RequestError("a conversation must end with a user's turn: add a user's turn")
        starts = [index for index, turn in enumerate(turns) if turn.role == "user"]
        for start in starts:
            prompt = self._tokenize(turns[start:])
            if len(prompt) <= limit:
                return prompt
        raise RequestError(
            f"the last turn has {len(prompt)} tokens, but the limit is {limit}: shorten it",
            Reason.INPUT_TOO_LARGE,
            {"tokens": str(len(prompt)), "limit": str(limit)},
        )

    def _tokenize(self, turns: Sequence[Turn]) -> TokenizedPrompt:
        ids, positions, embeddings = [self._bos_token_id], [], []
        for segment in render_chat(turns):
            if isinstance(segment.content, str):
                ids += self._tokenizer.encode(segment.content)
            elif segment.by_assistant:
                ids += self._signal_run(segment.content)
            else:
                positions.append(len(ids) + 1)
                embeddings.append(self._vector(segment.content))
                # The id at the media's position is a placeholder.
                ids += [self._media_start, self._media_start, self._media_end]
        stacked = torch.stack(embeddings) if embeddings else torch.zeros(0, self._encoder_width)
        return TokenizedPrompt(torch.tensor(ids), tuple(positions), stacked)

    def _signal_run(self, media: Embedding) -> list[int]:
        """Return the signal tokens with which the assistant requested these media."""
        try:
            return list(self._grammar.run_of(media.modality).ids)
        except KeyError as error:
            raise RequestError(
                f"an assistant's turn contains {media.modality!r}, which this model cannot generate: leave it out",
                Reason.MODALITY_NOT_SUPPORTED,
            ) from error

    def _vector(self, media: Embedding) -> Tensor:
        if media.tensor.shape != (self._encoder_width,) or media.tensor.dtype != "float32":
            raise RequestError(
                f"an embedding must be float32 of shape ({self._encoder_width},), "
                f"not {media.tensor.dtype} of shape {media.tensor.shape}: use this bundle's encoder",
                Reason.CONDITIONING_INVALID,
            )
        return to_torch(media.tensor)
