"""The tokenizer: text to token ids and back. No text becomes a control token."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import tokenizers
from tokenizers import Regex, decoders, pre_tokenizers

from motet.core.errors import BundleError
from motet.core.media import MEBI

_MAX_FILE_BYTES = 64 * MEBI
_MAX_INCOMPLETE = 64
"""Maximum number of tokens that wait for the end of a character. Each further token would take longer to decode."""


class Tokenizer:
    """A tokenizer without control tokens.

    Control tokens (`<Img>`, `[IMG0]`, `<s>`, ...) are removed when the tokenizer is loaded, so a text that contains
    "[IMG0]" becomes the ids of ordinary tokens. Byte-level vocabularies decode to exactly the encoded text.
    """

    def __init__(self, tokenizer: tokenizers.Tokenizer, adds_space: bool = False) -> None:
        """`adds_space` is true for a vocabulary that puts a space before every text."""
        self._tokenizer = tokenizer
        self._adds_space = adds_space
        # A SentencePiece vocabulary removes the space before the first token, so decoding needs an earlier token.
        self._context: list[int] = self.encode(":")

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Load a `tokenizer.json`. Raises `BundleError` if the file is not a tokenizer without control tokens."""
        # Each call encodes one text, so the library's own threads have no use.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            with path.open("rb") as file:
                values = json.loads(file.read(_MAX_FILE_BYTES))
            # The library splits a text at added tokens before it applies the vocabulary. Without added tokens,
            # everything is text.
            control = {token["content"]: token["id"] for token in values.get("added_tokens", []) if token["special"]}
            # Any unknown character becomes this token.
            control.pop(values["model"].get("unk_token"), None)
            values["added_tokens"] = []
            values["post_processor"] = values["truncation"] = values["padding"] = None
            # A dropout of training would make the ids random.
            values["model"].pop("dropout", None)
            normalizer = json.dumps(values.get("normalizer"))
            tokenizer = cls(tokenizers.Tokenizer.from_str(json.dumps(values)), adds_space="Prepend" in normalizer)
            # Some errors in a file show only in use.
            tokenizer.decode_continuation(range(len(tokenizer) - 1, len(tokenizer)))
            spelled = [text for text, token in control.items() if token in tokenizer.encode(text)]
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # The tokenizers library raises bare Exception and, for a broken normalizer, a subclass of BaseException.
            raise BundleError(f"{path.name} is not a tokenizer: fetch the bundle again") from error
        if spelled:
            raise BundleError(
                f"{path.name} converts the text {spelled[0]!r} to a control token: use a vocabulary with merges"
            )
        return tokenizer

    def __len__(self) -> int:
        """The number of text tokens, or more if there are gaps between the ids. All ids are lower."""
        return 1 + max(self._tokenizer.get_vocab(with_added_tokens=False).values())

    @property
    def max_token_bytes(self) -> int:
        """The maximum number of bytes of text that one token can hold."""
        return max(len(token.encode()) for token in self._tokenizer.get_vocab(with_added_tokens=False))

    def isolating(self, words: Sequence[str]) -> Tokenizer:
        """Return a tokenizer for the same vocabulary in which each of the `words` has tokens of its own.

        The words have only ASCII characters without spaces. Decoded, the ids give the same text.
        """
        isolating = tokenizers.Tokenizer.from_str(self._tokenizer.to_str())
        # The step is the last one, because earlier steps may add a space to each piece of text.
        step = pre_tokenizers.Split(Regex("|".join(map(re.escape, words))), "isolated")
        before = isolating.pre_tokenizer
        isolating.pre_tokenizer = step if before is None else pre_tokenizers.Sequence([before, step])
        return Tokenizer(isolating, self._adds_space)

    def normalized(self, text: str) -> str:
        """Return the text as the vocabulary receives it."""
        normalizer = self._tokenizer.normalizer
        return text if normalizer is None else str(normalizer.normalize_str(text))

    def encode(self, text: str) -> list[int]:
        """Return the token ids of a text. Other threads run meanwhile."""
        # A SentencePiece vocabulary adds a space before the text. A space that is there already must not count twice.
        text = text[1:] if self._adds_space and text.startswith(" ") else text
        # Unlike `encode`, this method of the library releases the interpreter's lock.
        [encoding] = self._tokenizer.encode_batch_fast([text], add_special_tokens=False)
        ids: list[int] = encoding.ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Return the text of token ids. Bytes that are not UTF-8 become U+FFFD."""
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def decode_continuation(self, ids: Sequence[int]) -> str:
        """Return the text of token ids that follow other tokens. A space before the first word is part of it."""
        return self.decode([*self._context, *ids]).removeprefix(self.decode(self._context))

    def stream(self) -> Callable[[int], str | None]:
        """Return a function that adds one token, and returns the text that the token completes, or None.

        The function raises Exception if the token changes the text of earlier tokens.
        """
        # The library adds the ids to its list.
        stream = decoders.DecodeStream(ids=list(self._context), skip_special_tokens=False)
        return partial(stream.step, self._tokenizer)


class IncrementalDecoder:
    """A decoder that gets one token at a time and returns text of whole characters.

    The text continues an earlier text. A SentencePiece vocabulary, which has a space before every text, yields it.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._step = tokenizer.stream()
        self._incomplete: list[int] = []
        """The tokens whose text was not returned."""

    def feed(self, token: int) -> str:
        """Add a token. Return the text that it completes, or "" if the last character is incomplete."""
        self._incomplete.append(token)
        try:
            text = self._step(token)
        except Exception:
            # An earlier character was complete, and this token makes its bytes invalid. The library raises bare
            # Exception. The earlier character was returned and stays.
            return self.close()
        if text is None:
            return self.close() if len(self._incomplete) == _MAX_INCOMPLETE else ""
        self._incomplete = []
        return text

    def close(self) -> str:
        """Return the rest of the text. An incomplete character becomes U+FFFD. Further tokens continue the text."""
        if not self._incomplete:
            return ""
        text = self._tokenizer.decode_continuation(self._incomplete)
        self._step, self._incomplete = self._tokenizer.stream(), []
        return text
