"""The bundle of a model: a folder with the manifest `bundle.yaml`, weights in safetensors and their configurations.

The manifest holds every fact about a model that the code needs. The code has no constants of a particular model.
Loading is strict: an unknown key, a missing file, a file that the manifest does not list, or a wrong sha256 raises an
error that names the key or the file. A manifest from a stranger cannot hang the process or exhaust its memory.

The manifest is a pydantic model (docs/adr/0001), so the client does not import this module.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from motet.core.errors import BundleError, NotFoundError, Reason
from motet.core.files.field_errors import message_of
from motet.core.files.strict_yaml import read_yaml
from motet.core.preprocessing import Preprocessing
from motet.core.signals import Grammar

MANIFEST = "bundle.yaml"
MUX = "mux"
"""The kind of a decoder without weights, see `motet.models.mux`."""

RelativePath = Annotated[
    str, Field(max_length=1024, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")
]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Modality = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]
Size = Annotated[int, Field(ge=1, le=10_000_000)]
"""A number of tokens, or a length of a tensor's axis."""

Slot = Annotated[
    list[Modality],
    Field(min_length=1, max_length=8),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
]
"""An input of a decoder: the modalities that fit. One modality may be written without a list."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class EncoderEntry(_Entry):
    """The encoder: its implementation, its folder and its input modalities."""

    kind: Literal["imagebind", "toy"]
    """The implementation: "imagebind" loads weights from `path`, "toy" has no weights."""
    path: RelativePath
    modalities: list[Modality]
    preprocessing: Preprocessing = Preprocessing()
    """The choices of the preprocessing that the weights were trained with."""


class LanguageModelEntry(_Entry):
    """The language model: its folders, its chat template and its limits."""

    path: RelativePath
    lora: RelativePath | None = None
    projections: RelativePath
    prompt: Literal["vicuna-v0"]
    """The chat template, see `motet.models.llm.chat_template`. The code supports only this template."""
    first_control: Size
    """Id of the first control token, `<Img>`. `</Img>` and the signal runs follow. All text ids are lower."""
    max_tokens: Size
    """Maximum number of tokens of prompt plus response: the positions that the model was trained for."""


class SignalEntry(_Entry):
    """The signal run of a modality: its tokens, its length and its decoder."""

    token: Annotated[str, Field(pattern=r"\{i\}")]
    """Spelling of the tokens, such as "[IMG{i}]" for [IMG0], [IMG1], ... Error messages name the tokens with it."""
    run: Annotated[int, Field(ge=1, le=1024)]
    """Number of tokens of the run."""
    decoder: str
    takes: Annotated[list[Slot], Field(max_length=3)] = []
    """The decoder's inputs, in the order of `DecodeJob.inputs`. Empty: the decoder needs only the conditioning.

    The input of a slot is the nearest earlier part of the answer with one of its modalities, or else the newest such
    medium of the conversation.
    """


class DecoderEntry(_Entry):
    """A decoder: its implementation, its folder, its input and its output."""

    kind: str
    """The implementation: `MUX`, or one of `motet.models.diffusion.decoder.KINDS`."""
    path: RelativePath
    """The folder of the weights. The kind `MUX` reads nothing from it."""
    conditioning: Annotated[list[Size], Field(min_length=1, max_length=8)]
    """Shape of the conditioning, a float32 tensor."""
    media_type: str
    steps: Annotated[int, Field(ge=1, le=1000)]
    """Default number of denoising steps."""
    guidance: Annotated[float, Field(ge=1)]
    """Default classifier-free guidance scale; 1 means no guidance."""
    shared: dict[str, RelativePath] = Field(default_factory=dict)
    """Component name -> folder of a component that several decoders share, such as an autoencoder."""
    options: dict[str, float] = Field(default_factory=dict)
    """Options of this implementation, such as the frames per second."""


class Manifest(_Entry):
    """The content of `bundle.yaml`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    licence: str
    description: str
    encoder: EncoderEntry
    language_model: LanguageModelEntry
    signals: dict[Modality, SignalEntry]
    """The signal runs in token order: the first modality's run has the lowest ids."""
    decoders: dict[str, DecoderEntry]
    files: dict[RelativePath, Digest]

    @model_validator(mode="after")
    def _signals_name_decoders(self) -> Self:
        for modality, signal in self.signals.items():
            if signal.decoder not in self.decoders:
                raise ValueError(f"signals.{modality} names the decoder {signal.decoder!r}, which is not listed")
        return self

    @model_validator(mode="after")
    def _signals_take_other_media(self) -> Self:
        known = dict.fromkeys((*self.signals, *self.encoder.modalities))
        for modality, signal in self.signals.items():
            taken: set[str] = set()
            for name in (name for slot in signal.takes for name in slot):
                if name == modality:
                    raise ValueError(f"signals.{modality} takes itself: name another modality, or leave the slot out")
                if name not in known:
                    raise ValueError(
                        f"signals.{modality} takes {name!r}, which no signal makes and the encoder does not read: name "
                        f"one of {', '.join(known)}"
                    )
                if name in taken:
                    raise ValueError(
                        f"signals.{modality} takes {name!r} twice, and both inputs would be the same medium: name each "
                        "modality once"
                    )
                taken.add(name)
        return self

    @property
    def grammar(self) -> Grammar:
        """The signal grammar. `<Img>` and `</Img>` have the two ids before the runs, as in NExT-GPT v0."""
        lengths = {modality: signal.run for modality, signal in self.signals.items()}
        tokens = {modality: signal.token for modality, signal in self.signals.items()}
        return Grammar.from_lengths(self.language_model.first_control + 2, lengths, tokens)

    @property
    def independent(self) -> tuple[str, ...]:
        """The modalities whose decoders take no other media, in the order of the signals."""
        return tuple(modality for modality, signal in self.signals.items() if not signal.takes)

    @property
    def takes(self) -> dict[str, list[Slot]]:
        """The slots of each modality that takes media, by modality."""
        return {modality: signal.takes for modality, signal in self.signals.items() if signal.takes}

    def files_in(self, folders: Iterable[str] | None) -> list[str]:
        """Return the names of the files in some folders, in the order of the list. None means all files."""
        starts = ("",) if folders is None else tuple(f"{folder}/" for folder in folders)
        return [name for name in self.files if name.startswith(starts)]

    def decoder_of(self, modality: str) -> DecoderEntry:
        """Return the decoder of a modality. Raise `NotFoundError` if the modality has no signal run."""
        if modality not in self.signals:
            known = ", ".join(self.signals)
            raise NotFoundError(
                f"{self.name} makes {known}, not {modality!r}",
                Reason.MODALITY_NOT_SUPPORTED,
                {"modality": modality, "supported": known},
            )
        return self.decoders[self.signals[modality].decoder]


class Bundle:
    """A verified manifest and its folder."""

    def __init__(self, folder: Path, manifest: Manifest, digest: str) -> None:
        self.folder = folder
        self.manifest = manifest
        self.digest = digest
        """sha256 of the manifest, in hex. It identifies the model, because the manifest lists every file's sha256."""

    def path(self, relative: str) -> Path:
        """Return the path of a folder of the manifest on this machine."""
        return self.folder / relative

    @classmethod
    def load(cls, folder: Path, folders: Iterable[str] | None = None) -> Bundle:
        """Read and verify a bundle: every listed file must exist and have the listed sha256.

        `folders` limits the verification to the files in these relative folders, for a process that uses only them.
        Raise `BundleError` that names the file.
        """
        folder = folder.resolve()
        raw, values = read_yaml(folder / MANIFEST, f"{folder.name}/{MANIFEST}")
        try:
            manifest = Manifest.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])).encode("unicode_escape").decode()[:200] or MANIFEST
            raise BundleError(f"{folder.name}/{MANIFEST}: {place}: {message_of(first, Manifest)}") from error
        _verify(folder, manifest, folders)
        return cls(folder, manifest, hashlib.sha256(raw).hexdigest())


def _verify(folder: Path, manifest: Manifest, folders: Iterable[str] | None) -> None:
    for name in manifest.files_in(folders):
        path, expected = folder / name, manifest.files[name]
        if not path.is_file():
            raise BundleError(f"{name} is missing from the bundle {manifest.name}; fetch the bundle again")
        try:
            digest = digest_of(path)
        except OSError as error:
            raise BundleError(f"{name} of the bundle {manifest.name} cannot be read: check its permissions") from error
        if digest != expected:
            raise BundleError(
                f"{name} is not the file that the manifest of {manifest.name} lists: the file was changed or "
                "is incomplete; fetch the bundle again"
            )
    for name in files_of(folder):
        if name not in manifest.files:
            raise BundleError(
                f"{name} is in the bundle {manifest.name}, but its manifest does not list it: remove the file, or seal "
                "the bundle again"
            )


def files_of(folder: Path) -> list[str]:
    """Return the relative paths of a bundle's files, sorted. The manifest, documents and hidden files are left out.

    A manifest lists exactly these files, because all others are no part of a model.
    """
    names: list[str] = []
    for parent, subfolders, files in os.walk(folder):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        paths = (PurePath(parent, file).relative_to(folder) for file in files)
        names += [path.as_posix() for path in paths if not _is_document(path)]
    return sorted(names)


def _is_document(path: PurePath) -> bool:
    return path.name.startswith(".") or path.suffix == ".md" or path.as_posix() == MANIFEST


def digest_of(path: Path) -> str:
    """Return a file's digest in the manifest's format: "sha256:" and 64 hex digits."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def bundle_folder(name: str) -> Path:
    """Return the folder of an installed bundle: in the repository, or the package `motet_NAME`. Raise `BundleError`."""
    folders = [Path(__file__).resolve().parents[2] / "bundles" / name]
    if name.isidentifier() and (package := find_spec(f"motet_{name}")) is not None:
        folders += map(Path, package.submodule_search_locations or ())
    for folder in folders:
        # os.path.isfile also returns False for a name that no file can have.
        if os.path.isfile(folder / MANIFEST):
            return folder
    raise BundleError(
        f"there is no bundle {name!r}: pass the folder of a bundle, or install nano with `pip install motet[models]`"
    )
