"""The language model as a worker: conversations in, text and conditioning out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from math import prod

from motet.core.bundle import Bundle
from motet.core.deadline import Deadline
from motet.core.errors import BundleError, RequestError
from motet.core.workers import Finished, LanguageEvent, Prompt
from motet.models.event_queue import EventQueue
from motet.models.llm.config import EngineConfig
from motet.models.llm.engine import Engine
from motet.models.llm.loading import load_llama, load_tokenizer
from motet.models.llm.projections import ProjectorConfig
from motet.models.llm.response_state import ModelContext, ResponseState
from motet.models.llm.token_masks import TokenMasks
from motet.models.llm.tokenized_prompt import PromptBuilder


class LlamaLanguageModel:
    """A `LanguageModel` whose engine has its own thread; the event loop never waits for the network.

    Answers that are written at the same time share passes through the network. Closing the generator, cancelling its
    task, or running out of time stops an answer within one pass, and closing has waited for that when it is done.
    """

    def __init__(self, voice: ModelContext, scriptwriter: PromptBuilder, budget: EngineConfig) -> None:
        self._voice = voice
        self._scriptwriter = scriptwriter
        self._engine = Engine(voice, budget)

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """See `LanguageModel.generate`.

        Raises `RequestError` for a prompt that is too long or names impossible sampling, `DeadlineError`.
        """
        _check(prompt)
        deadline.check("the language model was asked")
        # At least one token must be left for the answer.
        script = self._scriptwriter.write(prompt.turns, self._voice.positions - 1)
        events: EventQueue[list[LanguageEvent]] = EventQueue()
        row = self._engine.join(ResponseState(self._voice, script, prompt), deadline, events)
        try:
            async for ready in events:
                for event in ready:
                    yield event
                    if isinstance(event, Finished):
                        return
        finally:
            self._engine.leave(row)
            await events.wait_closed()

    def close(self) -> None:
        """Ends the thread; a pass that is being made is waited for, and answers that are not done fail."""
        self._engine.close()


def load_language_model(bundle: Bundle, budget: EngineConfig | None = None, device: str = "auto") -> LlamaLanguageModel:
    """The language model of a bundle, ready to answer, on the device of that setting (`device_of`).

    Takes seconds. Raises `BundleError`, and `SettingsError` for a budget that there is no memory for.
    """
    manifest = bundle.manifest
    entry = manifest.language_model
    llama = load_llama(bundle, device)
    codec = load_tokenizer(bundle)
    shapes = {name: tuple(manifest.decoder_of(name).conditioning) for name in manifest.signals}
    for name, shape in shapes.items():
        _check_shape(llama.projections.config.outputs, name, shape)
    masks = TokenMasks(manifest.grammar, entry.first_control, llama.beginning, llama.device)
    voice = ModelContext(llama, codec, manifest.grammar, masks, shapes, entry.max_tokens)
    scriptwriter = PromptBuilder(
        codec, manifest.grammar, entry.first_control, llama.beginning, llama.projections.config.encoder_width
    )
    return LlamaLanguageModel(voice, scriptwriter, budget or EngineConfig())


def _check(prompt: Prompt) -> None:
    if prompt.max_tokens < 1:
        raise RequestError(f"max_tokens must be 1 or more, not {prompt.max_tokens}")
    if not 0 <= prompt.temperature <= 10:
        raise RequestError(f"temperature must be from 0 to 10, not {prompt.temperature}")
    if not 0 < prompt.top_p <= 1:
        raise RequestError(f"top_p must be above 0 and at most 1, not {prompt.top_p}")


def _check_shape(outputs: Mapping[str, ProjectorConfig], modality: str, shape: tuple[int, ...]) -> None:
    if modality not in outputs:
        raise BundleError(f"the projections lack {modality!r}, which the manifest lists under signals")
    made = outputs[modality].queries * outputs[modality].out_width
    if prod(shape) != made:
        raise BundleError(
            f"the projection of {modality!r} makes {made} numbers, but its decoder's conditioning is {list(shape)}"
        )
