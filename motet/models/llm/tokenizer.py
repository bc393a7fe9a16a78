"""Text to token ids and back, for text that may say anything and must never become a control token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import tokenizers

from motet.core.errors import BundleError

_REPLACEMENT = "\ufffd"


class Tokenizer:
    """A tokenizer that knows text only.

    Control tokens (`<Img>`, `[IMG0]`, `<s>`, ...) are taken out of the tokenizer when it is loaded, so a text
    that spells one becomes the ids of its letters. Byte-level vocabularies decode to the very text encoded.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, adds_space: bool = False) -> None:
        self._tokenizer = tokenizer
        self._adds_space = adds_space

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """From a `tokenizer.json`. Raises `BundleError` when it is none."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            # Added tokens are cut out of a text before the vocabulary sees it; without them it is all text.
            values["added_tokens"] = []
            values["post_processor"] = None
            normalizer = json.dumps(values.get("normalizer"))
            return cls(tokenizers.Tokenizer.from_str(json.dumps(values)), adds_space="Prepend" in normalizer)
        except Exception as error:  # the tokenizers library raises bare Exception
            raise BundleError(f"{path.name} is not a tokenizer: fetch the bundle again") from error

    def __len__(self) -> int:
        """How many ids text can have; all are below this."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=False))

    def encode(self, text: str) -> list[int]:
        """The ids of a text."""
        # SentencePiece vocabularies put a space before every piece; one that is there already must not count twice.
        text = text[1:] if self._adds_space and text.startswith(" ") else text
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids; bytes that are no UTF-8 become U+FFFD."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text


class IncrementalDecoder:
    """Spells out an answer token by token, in pieces that hold whole characters only."""

    def __init__(self, codec: Tokenizer) -> None:
        self._codec = codec
        self._ids: list[int] = []
        self._told = 0

    def feed(self, token: int) -> str:
        """The text that one more token completes; "" while a character is still in parts."""
        self._ids.append(token)
        text = self._codec.decode(self._ids)
        if text.endswith(_REPLACEMENT):
            return ""
        return self._tell(text)

    def close(self) -> str:
        """What is left when no token follows: parts of a character that never came, as U+FFFD."""
        return self._tell(self._codec.decode(self._ids)) if self._ids else ""

    def _tell(self, text: str) -> str:
        piece = text[self._told :]
        if text[-1:].isspace() or len(self._ids) < 16:
            self._told = len(text)
        else:
            # The past is forgotten, or each token would cost more than the one before it.
            self._ids, self._told = [], 0
        return piece
