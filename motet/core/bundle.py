"""The bundle: one noun for a model, a folder with `bundle.yaml` and safetensors.

The manifest says everything the system knows about a model, once. It is strict: an unknown key, a missing file, or a
file whose sha256 differs is refused, naming it. Code holds no per-model constants.

The manifest is a pydantic model (docs/adr/0001), so this module is not part of what the client imports.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from motet.core.errors import BundleError, NotFoundError, Reason
from motet.core.signals import Grammar

MANIFEST = "bundle.yaml"

RelativePath = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*$")]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Modality = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,31}$")]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class EncoderEntry(_Entry):
    """Which encoder, where its files are, and which modalities it reads."""

    kind: str
    path: RelativePath
    modalities: list[Modality]


class LanguageModelEntry(_Entry):
    """Where the language model is, and how it is spoken to."""

    path: RelativePath
    lora: RelativePath | None = None
    projections: RelativePath
    prompt: Literal["vicuna-v0"]
    first_control: PositiveInt
    """Id of the first control token, `<Img>`; `</Img>` and the signal runs follow. Text ids are all below it."""
    max_tokens: PositiveInt
    """Upper bound on prompt and answer together: the positions the model was trained for."""


class SignalEntry(_Entry):
    """How a run is spelt, how long it is, and which decoder it calls."""

    token: Annotated[str, Field(pattern=r"\{i\}")]
    run: PositiveInt
    decoder: str


class DecoderEntry(_Entry):
    """Which decoder, where its files are, and what it takes and makes."""

    kind: str
    path: RelativePath
    conditioning: Annotated[list[PositiveInt], Field(min_length=1)]
    """Shape of the float32 tensor that it is conditioned on."""
    media_type: str
    steps: PositiveInt
    """Denoising steps, where a job names none."""
    guidance: Annotated[float, Field(ge=1)]
    """Classifier-free guidance scale, where a job names none; 1 is none."""
    shared: dict[str, RelativePath] = Field(default_factory=dict)
    """Component name to a folder that more than one decoder uses, such as an autoencoder."""
    options: dict[str, float] = Field(default_factory=dict)
    """What only this kind knows, such as frames per second."""


class Manifest(_Entry):
    """`bundle.yaml`, as written."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
    licence: str
    description: str
    encoder: EncoderEntry
    language_model: LanguageModelEntry
    signals: dict[Modality, SignalEntry]
    """In token order: the first modality's run takes the first ids."""
    decoders: dict[str, DecoderEntry]
    files: dict[RelativePath, Digest]

    @model_validator(mode="after")
    def _signals_name_decoders(self) -> Self:
        for modality, signal in self.signals.items():
            if signal.decoder not in self.decoders:
                raise ValueError(f"signals.{modality} names the decoder {signal.decoder!r}, which is not listed")
        return self

    @property
    def grammar(self) -> Grammar:
        """The signal grammar; `<Img>` and `</Img>` take the two ids before the runs, as in NExT-GPT v0."""
        lengths = {modality: signal.run for modality, signal in self.signals.items()}
        return Grammar.following(self.language_model.first_control + 2, lengths)

    def decoder_of(self, modality: str) -> DecoderEntry:
        """The decoder that a modality's signals call. Raises `NotFoundError` for a modality that has none."""
        if modality not in self.signals:
            known = ", ".join(self.signals)
            raise NotFoundError(
                f"{self.name} makes {known}, not {modality!r}",
                Reason.MODALITY_NOT_SUPPORTED,
                {"modality": modality, "supported": known},
            )
        return self.decoders[self.signals[modality].decoder]


class Bundle:
    """A manifest and the folder it describes, verified."""

    def __init__(self, folder: Path, manifest: Manifest, digest: str) -> None:
        self.folder = folder
        self.manifest = manifest
        self.digest = digest
        """sha256 of the manifest, in hex; it lists every file's, so it names the whole model."""

    def path(self, relative: str) -> Path:
        """Where a file or folder of the manifest is on this machine."""
        return self.folder / relative

    @classmethod
    def load(cls, folder: Path, parts: Iterable[str] | None = None) -> Bundle:
        """Read and verify a bundle: every listed file must be there and have the listed sha256.

        `parts` limits verification to files under these relative folders, for a process that opens no others.
        Raises `BundleError`, naming the file.
        """
        folder = folder.resolve()
        try:
            raw = (folder / MANIFEST).read_bytes()
            manifest = Manifest.model_validate(yaml.safe_load(raw))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise BundleError(f"{folder.name}/{MANIFEST} is missing: name the folder of a bundle") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise BundleError(f"{folder.name}/{MANIFEST} is not valid YAML") from error
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = ".".join(map(str, first["loc"])) or MANIFEST
            raise BundleError(f"{folder.name}/{MANIFEST}: {place}: {first['msg']}") from error
        _verify(folder, manifest, None if parts is None else tuple(parts))
        return cls(folder, manifest, hashlib.sha256(raw).hexdigest())


def _verify(folder: Path, manifest: Manifest, parts: tuple[str, ...] | None) -> None:
    for name, expected in manifest.files.items():
        if parts is not None and not any(name.startswith(f"{part}/") for part in parts):
            continue
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{name} is missing from the bundle {manifest.name}; fetch the bundle again")
        if digest_of(path) != expected:
            raise BundleError(
                f"{name} is not the file that the manifest of {manifest.name} lists: it was altered or is "
                "half-written; fetch the bundle again"
            )
    listed = set(manifest.files)
    for path in folder.rglob("*.safetensors"):
        if (name := path.relative_to(folder).as_posix()) not in listed:
            raise BundleError(f"{name} is in the bundle {manifest.name}, but its manifest does not list it")


def digest_of(path: Path) -> str:
    """A file's digest as the manifest writes it: "sha256:" and 64 hex digits."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def bundle_folder(name: str) -> Path:
    """The folder of a bundle that ships with Motet: beside the checkout's packages, or inside the wheel's."""
    package = Path(__file__).resolve().parent.parent
    for folder in (package.parent / "bundles" / name, package / "_bundles" / name):
        if (folder / MANIFEST).is_file():
            return folder
    raise BundleError(f"there is no bundle called {name!r}: name a shipped bundle, or the folder of one")
