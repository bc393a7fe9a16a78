"""The names that NExT-GPT v0's checkpoints give to the projections (fact sheet 1.8 and 2.5)."""

from __future__ import annotations

# v0 grew modality by modality: the first output projection has no name of its own.
_SUFFIX = {"image": ""}


def to_v0(name: str) -> str:
    """The v0 name of a parameter of `Projections`.

    `outputs.audio.fc.weight` is `gen_text_hidden_fcs_audio.0.fc.weight` there.
    """
    if not name.startswith("outputs."):
        return name
    _, modality, rest = name.split(".", 2)
    return f"gen_text_hidden_fcs{_SUFFIX.get(modality, f'_{modality}')}.0.{rest}"
