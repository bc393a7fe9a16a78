"""The parameter names of the projections in NExT-GPT v0's checkpoints (fact sheet 1.8 and 2.5)."""

from __future__ import annotations

# The image projection was the first one in v0, and its name has no suffix.
_SUFFIX = {"image": ""}


def to_v0(name: str) -> str:
    """Return the v0 name of a parameter of `Projections`.

    The v0 name of `outputs.audio.fc.weight` is `gen_text_hidden_fcs_audio.0.fc.weight`.
    """
    if not name.startswith("outputs."):
        return name
    _, modality, rest = name.split(".", 2)
    return f"gen_text_hidden_fcs{_SUFFIX.get(modality, f'_{modality}')}.0.{rest}"
