"""Prompts as the language model reads them: token ids, and embeddings at the positions of media."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from torch import Tensor


@dataclass(frozen=True, slots=True)
class TokenizedPrompt:
    """The token ids of a prompt, (tokens,), and the embeddings of its media, (media, encoder_width).

    At each of `media_positions`, the model reads a projected embedding instead of the embedding of the token id.
    `omitted_turns` is the number of the conversation's oldest turns that did not fit.
    """

    ids: Tensor
    media_positions: tuple[int, ...]
    embeddings: Tensor
    omitted_turns: int = 0

    def __len__(self) -> int:
        """The number of tokens."""
        return len(self.ids)

    def block_hashes(self, block_size: int, tenant: str) -> list[bytes]:
        """Return the hash of each full block of `block_size` tokens. A hash also covers all blocks before its own.

        Hashes of two tenants differ, so the time of a prefill never tells a tenant what another one's prompt was.
        """
        hashes, block_hash = [], sha256(tenant.encode("utf-8", "backslashreplace")).digest()
        for start in range(0, len(self) - block_size + 1, block_size):
            digest = sha256(block_hash + self.ids[start : start + block_size].numpy().tobytes())
            for position, vector in zip(self.media_positions, self.embeddings, strict=True):
                if start <= position < start + block_size:
                    digest.update(position.to_bytes(8, "little") + vector.numpy().tobytes())
            block_hash = digest.digest()
            hashes.append(block_hash)
        return hashes
