"""The tokenizer: text to token ids and back. No text becomes a control token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import tokenizers

from motet.core.errors import BundleError

_REPLACEMENT = "\ufffd"


class Tokenizer:
    """A tokenizer without control tokens.

    Control tokens (`<Img>`, `[IMG0]`, `<s>`, ...) are removed when the tokenizer is loaded, so a text that contains
    "[IMG0]" becomes the ids of ordinary tokens. Byte-level vocabularies decode to exactly the encoded text.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, adds_space: bool = False) -> None:
        """`adds_space` is true for a vocabulary that puts a space before every text."""
        self._tokenizer = tokenizer
        self._adds_space = adds_space

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Load a `tokenizer.json`. Raises `BundleError` if the file is not a tokenizer."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            # The library splits a text at added tokens before it applies the vocabulary. Without added tokens,
            # everything is text.
            values["added_tokens"] = []
            values["post_processor"] = None
            normalizer = json.dumps(values.get("normalizer"))
            return cls(tokenizers.Tokenizer.from_str(json.dumps(values)), adds_space="Prepend" in normalizer)
        except Exception as error:  # the tokenizers library raises bare Exception
            raise BundleError(f"{path.name} is not a tokenizer: fetch the bundle again") from error

    def __len__(self) -> int:
        """The number of text tokens. All their ids are lower."""
        return int(self._tokenizer.get_vocab_size(with_added_tokens=False))

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text."""
        # A SentencePiece vocabulary adds a space before the text. A space that is there already must not count twice.
        text = text[1:] if self._adds_space and text.startswith(" ") else text
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids. Bytes that are not UTF-8 become U+FFFD."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text


class IncrementalDecoder:
    """A decoder that gets one token at a time and returns text of whole characters."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._returned = 0
        """Number of characters of the text of `_ids` that have been returned."""

    def feed(self, token: int) -> str:
        """Add a token. Return the text that it completes, or "" if the last character is incomplete."""
        self._ids.append(token)
        text = self._tokenizer.decode(self._ids)
        if text.endswith(_REPLACEMENT):
            return ""
        return self._new_text(text)

    def close(self) -> str:
        """Return the rest of the text. An incomplete character becomes U+FFFD."""
        return self._new_text(self._tokenizer.decode(self._ids)) if self._ids else ""

    def _new_text(self, text: str) -> str:
        new_text = text[self._returned :]
        if text[-1:].isspace() or len(self._ids) < 16:
            self._returned = len(text)
        else:
            # Without this reset, each token would be slower to decode than the one before it.
            self._ids, self._returned = [], 0
        return new_text
