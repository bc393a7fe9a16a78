"""The conversion of conversations to prompts."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import ceil

import torch
from torch import Tensor

from motet.core.errors import Reason, RequestError
from motet.core.signals import Grammar
from motet.core.tensors import check_finite
from motet.core.workers import Embedding, Turn
from motet.models.arrays import to_torch
from motet.models.llm.chat_template import FIRST_USER, NEXT_USER, Segment, render_exchange
from motet.models.llm.prompt.tokenized_prompt import TokenizedPrompt
from motet.models.llm.prompt.turn_tokenizer import TurnTokenizer
from motet.models.llm.tokenizer import Tokenizer


@dataclass(slots=True)
class _Tokens:
    """The token ids of a part of a prompt, and its media by position."""

    ids: list[int] = field(default_factory=list)
    media: list[tuple[int, Tensor]] = field(default_factory=list)

    def append(self, other: _Tokens) -> None:
        self.media += [(len(self.ids) + position, vector) for position, vector in other.media]
        self.ids += other.ids


class PromptBuilder:
    """A converter from conversations to prompts of one model.

    Only this class writes control token ids and headings. The tokenizer of user text does not know control tokens.
    """

    def __init__(
        self, tokenizer: Tokenizer, grammar: Grammar, first_control: int, bos_token_id: int, encoder_width: int
    ) -> None:
        self._tokenizer = tokenizer
        self._turn_tokenizer = TurnTokenizer(tokenizer)
        self._max_token_bytes = tokenizer.max_token_bytes
        self._first_user, self._next_user = tokenizer.encode(FIRST_USER), tokenizer.encode(NEXT_USER)
        self._grammar = grammar
        self._media_start, self._media_end = first_control, first_control + 1
        self._bos_token_id = bos_token_id
        self._encoder_width = encoder_width

    def build(
        self, turns: Sequence[Turn], limit: int, check: Callable[[], None] = lambda: None, *, reserve: int = 0
    ) -> TokenizedPrompt:
        """Return the prompt of a conversation, of at most `limit` tokens.

        A prompt that is too long loses its oldest exchanges. Exchanges before the last turn leave `reserve` tokens of
        the limit for the response. Each turn is tokenized at most once, the newest first, and turns that do not fit are
        not tokenized. `check` is called before each turn, and stops the work by raising.
        Raises `RequestError` if the last turn alone is too long, or is not a user's turn.
        """
        if not turns or turns[-1].role != "user":
            raise RequestError("a conversation must end with a user's turn: add a user's turn")
        exchanges: deque[_Tokens] = deque()
        room = limit - 1 - len(self._first_user)
        end = len(turns)
        for start in reversed([index for index, turn in enumerate(turns) if turn.role == "user"]):
            last = end == len(turns)
            exchange, tokens = self._tokenize(turns[start:end], last, room, check)
            if tokens > room:
                if last:
                    raise _too_long(limit - room + tokens, limit)
                break
            exchanges.appendleft(exchange)
            room -= tokens + len(self._next_user) + (reserve if last else 0)
            end = start
        return self._join(exchanges, end)

    def _join(self, exchanges: Iterable[_Tokens], omitted_turns: int) -> TokenizedPrompt:
        prompt = _Tokens([self._bos_token_id, *self._first_user])
        for index, exchange in enumerate(exchanges):
            if index > 0:
                prompt.append(_Tokens(self._next_user))
            prompt.append(exchange)
        vectors = [vector for _, vector in prompt.media]
        stacked = torch.stack(vectors) if vectors else torch.zeros(0, self._encoder_width)
        positions = tuple(position for position, _ in prompt.media)
        return TokenizedPrompt(torch.tensor(prompt.ids), positions, stacked, omitted_turns)

    def _tokenize(self, turns: Sequence[Turn], last: bool, room: int, check: Callable[[], None]) -> tuple[_Tokens, int]:
        """Return an exchange without the user's heading, and its number of tokens.

        The exchange is incomplete if it has more than `room` tokens. The number is then a minimum.
        """
        tokens = _Tokens()
        for heading, group in groupby(render_exchange(turns, last=last), lambda segment: segment.heading):
            check()
            segments = list(group)
            if heading:
                for segment in segments:
                    tokens.ids += self._tokenizer.encode(str(segment.content))
                continue
            minimum = len(tokens.ids) + self._min_tokens(segments)
            if minimum > room:
                return tokens, minimum
            self._append_turn(tokens, segments)
        return tokens, len(tokens.ids)

    def _min_tokens(self, segments: Sequence[Segment]) -> int:
        """Return the minimum number of tokens of a turn, without tokenizing it."""
        size = sum(len(segment.content.encode()) for segment in segments if isinstance(segment.content, str))
        return ceil(size / self._max_token_bytes)

    def _append_turn(self, tokens: _Tokens, segments: Sequence[Segment]) -> None:
        texts = [segment.content for segment in segments if isinstance(segment.content, str)]
        encoded = iter(self._turn_tokenizer.encode(texts))
        for segment in segments:
            if isinstance(segment.content, str):
                tokens.ids += next(encoded)
            elif segment.by_assistant:
                tokens.ids += self._signal_run(segment.content)
            else:
                tokens.media.append((len(tokens.ids) + 1, self._vector(segment.content)))
                # The id at the media's position is a placeholder.
                tokens.ids += [self._media_start, self._media_start, self._media_end]

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
        check_finite(media.tensor, "an embedding")
        return to_torch(media.tensor)


def _too_long(tokens: int, limit: int) -> RequestError:
    return RequestError(
        f"the last turn has {tokens} tokens or more, but the limit is {limit}: shorten it",
        Reason.INPUT_TOO_LARGE,
        {"tokens": str(tokens), "limit": str(limit)},
    )
