"""How the workers of a model are made, whichever process wants which of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from motet.caching.encoder import CachingEncoder, EmbeddingCache
from motet.core.bundle import Bundle, Manifest, bundle_folder
from motet.core.errors import BundleError
from motet.core.workers import Decoder, Encoder, LanguageModel
from motet.models.llm.config import EngineConfig

_ONE_AT_A_TIME = threading.Lock()

_EMBEDDINGS = 16 * 2**20
"""Bytes of embeddings that an encoder keeps: four thousand of the largest."""


@dataclass(frozen=True, slots=True)
class Factory:
    """A model's manifest, the digest that names it, and what makes each of its workers.

    Making a worker takes seconds and loads weights; having a factory does not. `decoder` takes a modality.
    """

    manifest: Manifest
    digest: str
    encoder: Callable[[], Encoder]
    language_model: Callable[[], LanguageModel]
    decoder: Callable[[str], Decoder]

    @classmethod
    def of_bundle(
        cls,
        bundle: Bundle,
        threads: int = 1,
        device: str = "auto",
        budget: EngineConfig | None = None,
        batch_tolerance: float = 0.0,
    ) -> Self:
        """Workers with the weights of a bundle, each computing on `threads` threads and on `device`.

        `budget` bounds the language model, and `batch_tolerance` what jobs of a decoder do to each other (see
        `load_decoder`). A device that is not here is refused by what makes a worker.
        """

        def encoder() -> Encoder:
            with _loading(threads):
                from motet.models.encoder.imagebind import load_encoder, version_of

                return CachingEncoder(load_encoder(bundle, device), version_of(bundle), EmbeddingCache(_EMBEDDINGS))

        def language_model() -> LanguageModel:
            with _loading(threads):
                from motet.models.llm.language_model import load_language_model

                return load_language_model(bundle, budget, device)

        def decoder(modality: str) -> Decoder:
            with _loading(threads):
                from motet.models.diffusion.cost_curve import default_folder
                from motet.models.diffusion.decoder import load_decoder

                return load_decoder(bundle, modality, device, batch_tolerance, default_folder())

        return cls(bundle.manifest, bundle.digest, encoder, language_model, decoder)

    @classmethod
    def of_toys(cls, delay: float = 0.0) -> Self:
        """Workers without weights, `delay` seconds slow at every token and every denoising step."""
        from motet.toys.manifest import TOY
        from motet.toys.workers import ToyDecoder, ToyEncoder, ToyLanguageModel

        return cls(
            TOY,
            sha256(TOY.model_dump_json().encode()).hexdigest(),
            lambda: ToyEncoder(delay=delay),
            lambda: ToyLanguageModel(TOY.grammar, delay=delay),
            lambda modality: ToyDecoder(modality, steps=TOY.decoder_of(modality).steps, delay=delay),
        )


def open_bundle(name: str, parts: tuple[str, ...] | None = None) -> Bundle:
    """A bundle by its folder or, for one that ships with Motet, its name; its files are verified.

    `parts` limits that to files under these folders of it. Raises `BundleError`, saying what is wrong with which file.
    """
    folder = Path(name)
    if folder.is_dir():
        return Bundle.load(folder, parts)
    if "/" in name:
        raise BundleError(f"there is no folder {name}: name a shipped bundle, or the folder of one")
    return Bundle.load(bundle_folder(name), parts)


@contextmanager
def _loading(threads: int) -> Iterator[None]:
    # One at a time: the libraries below import each other's parts when they are first used, and trip over each other
    # when two threads are the first.
    with _ONE_AT_A_TIME:
        import torch

        # Sums change with the number of threads that share them: equal bytes everywhere take an equal number.
        torch.set_num_threads(threads)
        yield
