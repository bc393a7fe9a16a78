"""The creation of a bundle's workers, for any process."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

from motet.caching.encoder import CachingEncoder, EmbeddingCache
from motet.caching.lru import IDLE_AFTER
from motet.core.bundle import MUX, Bundle, Manifest, bundle_folder
from motet.core.errors import BundleError
from motet.core.media import MEBI
from motet.core.workers import Decoder, Encoder, LanguageModel
from motet.models.dtype import DtypeSetting
from motet.models.llm.config import EngineConfig

_LOAD_LOCK = threading.Lock()

_EMBEDDING_CACHE_BYTES = 16 * MEBI
"""Size of an encoder's embedding cache, in bytes: 4096 embeddings of the largest size."""


@dataclass(frozen=True, slots=True)
class Factory:
    """A bundle's manifest and digest, and one function for each kind of worker.

    Each function loads weights, which takes seconds. `decoder` takes a modality.
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
        dtype: DtypeSetting = "auto",
        engine_config: EngineConfig | None = None,
        batch_tolerance: float | None = None,
    ) -> Self:
        """Return the factory of workers with a bundle's weights.

        Each has `threads` CPU threads, and computes on the device and in the dtype that the settings name.
        `engine_config` limits the language model. `batch_tolerance` limits the effect of a decoder's jobs on each
        other, see `load_decoder`. The factory's functions raise `SettingsError` for a missing device.
        """

        def encoder() -> Encoder:
            with _loading(threads):
                from motet.models.encoder.imagebind import load_encoder, version_of

                network = load_encoder(bundle, device, dtype)
                return CachingEncoder(
                    network, version_of(bundle), EmbeddingCache(_EMBEDDING_CACHE_BYTES, idle_after=IDLE_AFTER)
                )

        def language_model() -> LanguageModel:
            with _loading(threads):
                from motet.models.llm.language_model import load_language_model

                return load_language_model(bundle, engine_config, device, dtype)

        def decoder(modality: str) -> Decoder:
            if bundle.manifest.decoder_of(modality).kind == MUX:
                from motet.models.mux import MuxDecoder

                return MuxDecoder(bundle.manifest, modality)
            with _loading(threads):
                from motet.models.diffusion.cost_curve import default_folder
                from motet.models.diffusion.decoder import load_decoder

                return load_decoder(bundle, modality, device, dtype, batch_tolerance, default_folder())

        return cls(bundle.manifest, bundle.digest, encoder, language_model, decoder)

    @classmethod
    def of_toys(cls, delay: float = 0.0) -> Self:
        """Return the factory of toy workers. Each token and each denoising step takes `delay` seconds."""
        from motet.toys.manifest import MIX, TOY
        from motet.toys.workers import ToyDecoder, ToyEncoder, ToyLanguageModel

        def toy_decoder(modality: str) -> Decoder:
            entry = TOY.decoder_of(modality)
            return ToyDecoder(modality, steps=entry.steps, shape=tuple(entry.conditioning), delay=delay)

        return cls(
            TOY,
            sha256(TOY.model_dump_json().encode()).hexdigest(),
            lambda: ToyEncoder(delay=delay),
            lambda: ToyLanguageModel(TOY.grammar, delay=delay, named={MIX}),
            toy_decoder,
        )


def open_bundle(name: str, parts: tuple[str, ...] | None = None) -> Bundle:
    """Open a bundle by its folder or, for a bundle that ships with Motet, by its name, and verify its files.

    `parts` limits the verification to these subfolders. Raises `BundleError`, which names the wrong file.
    """
    # Unlike Path.is_dir, os.path.isdir returns False for a name that no folder can have.
    if not os.path.isdir(name) and ("/" in name or os.path.exists(name)):
        found = f"{name} is a file" if os.path.exists(name) else f"there is no folder {name}"
        raise BundleError(f"{found}: name a shipped bundle, or the folder of a bundle")
    bundle = Bundle.load(Path(name) if os.path.isdir(name) else bundle_folder(name), parts)
    for file in bundle.manifest.files_in(parts):
        if file.endswith(".safetensors"):
            from motet.models.weight_file import check_weight_file

            check_weight_file(bundle.path(file), file)
    return bundle


@contextmanager
def _loading(threads: int) -> Iterator[None]:
    # One worker at a time: transformers and diffusers import their modules on first use, which fails in two threads.
    with _LOAD_LOCK:
        import torch

        # Floating-point sums depend on the number of threads. Equal bytes on all machines need an equal number.
        torch.set_num_threads(threads)
        yield
