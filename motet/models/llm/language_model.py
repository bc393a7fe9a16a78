"""The language model as a worker: conversations in, text and conditioning out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from motet.core.bundle import Bundle
from motet.core.deadline import Deadline
from motet.core.errors import BundleError, CancelledError
from motet.core.events import TEXT
from motet.core.request import check_prompt
from motet.core.telemetry.service_kind import ServiceKind
from motet.core.telemetry.stage import Stage, StageTimer
from motet.core.workers import Finished, LanguageEvent, Prompt
from motet.models.dtype import DtypeSetting
from motet.models.event_queue import EventQueue
from motet.models.llm.config import EngineConfig
from motet.models.llm.engine import LanguageModelEngine
from motet.models.llm.loading import load_llama, load_tokenizer
from motet.models.llm.projections import ProjectorConfig
from motet.models.llm.prompt.prompt_builder import PromptBuilder
from motet.models.llm.prompt.tokenized_prompt import TokenizedPrompt
from motet.models.llm.response_state import ModelContext, ResponseState
from motet.models.llm.token_mask import token_mask

MAX_SIZE_ON_LOOP = 2048
"""Maximum size of a prompt that is tokenized on the event loop, in characters. It takes less than a millisecond."""


class LlamaLanguageModel:
    """A `LanguageModel` whose engine runs on its own thread, so the event loop never waits for the network.

    Concurrent responses share forwards. Closing the generator, cancelling its task, and the deadline stop a response
    within one forward. Closing the generator waits until the engine has released the response.
    """

    def __init__(self, context: ModelContext, prompt_builder: PromptBuilder, config: EngineConfig) -> None:
        self._context = context
        self._prompt_builder = prompt_builder
        self._engine = LanguageModelEngine(context, config)

    async def generate(self, prompt: Prompt, deadline: Deadline) -> AsyncIterator[LanguageEvent]:
        """Implement `LanguageModel.generate`.

        Raises `RequestError` for a prompt that is too long or has invalid sampling parameters, and `DeadlineError`.
        """
        check_prompt(prompt)
        stages = StageTimer(ServiceKind.LANGUAGE_MODEL, TEXT, Stage.PREPROCESS)
        events: EventQueue[list[LanguageEvent]] = EventQueue()
        try:
            prompt_tokens = await self._tokenize(prompt, deadline)
            response = ResponseState(self._context, prompt_tokens, prompt)
            sequence = self._engine.add(response, deadline, events, stages)
        except BaseException:
            stages.end()
            raise
        try:
            async for batch in events:
                for event in batch:
                    if isinstance(event, Finished):
                        self._engine.meter.collect()
                    yield event
                    if isinstance(event, Finished):
                        return
        finally:
            self._engine.cancel(sequence)
            await events.wait_closed()

    async def _tokenize(self, prompt: Prompt, deadline: Deadline) -> TokenizedPrompt:
        """Tokenize the prompt, on a thread if it is long. The thread stops before the next turn if the call ends."""
        # The response has at least one token. Earlier exchanges leave more, so that a chat has complete responses.
        limit = self._context.positions - 1
        reserve = min(prompt.max_tokens, self._context.positions // 4)
        cancelled = False

        def check() -> None:
            if cancelled:
                raise CancelledError("the call was cancelled while its prompt was tokenized")
            deadline.check("the language model tokenized the prompt")

        if _size_of(prompt) <= MAX_SIZE_ON_LOOP:
            return self._prompt_builder.build(prompt.turns, limit, check, reserve=reserve)
        try:
            return await asyncio.to_thread(self._prompt_builder.build, prompt.turns, limit, check, reserve=reserve)
        finally:
            cancelled = True

    def close(self) -> None:
        """Stop the engine. Wait for the current forward. Unfinished responses fail with a `RetryableError`."""
        self._engine.close()


def load_language_model(
    bundle: Bundle, config: EngineConfig | None = None, device: str = "auto", dtype: DtypeSetting = "auto"
) -> LlamaLanguageModel:
    """Load the language model of a bundle to a device, in a dtype, see `device_of` and `dtype_of`. This takes seconds.

    Raises `BundleError`, and `SettingsError` if the device lacks the memory for `config`.
    """
    manifest = bundle.manifest
    entry = manifest.language_model
    llama = load_llama(bundle, device, dtype)
    tokenizer = load_tokenizer(bundle)
    shapes = {name: tuple(manifest.decoder_of(name).conditioning) for name in manifest.signals}
    for name, shape in shapes.items():
        _check_shape(llama.projections.config.outputs, name, shape)
    mask = token_mask(manifest.grammar, entry.first_control, llama.bos_token_id, llama.vocabulary_size)
    context = ModelContext(llama, tokenizer, manifest.grammar, mask.to(llama.device), shapes, entry.max_tokens)
    prompt_builder = PromptBuilder(
        tokenizer, manifest.grammar, entry.first_control, llama.bos_token_id, llama.projections.config.encoder_width
    )
    return LlamaLanguageModel(context, prompt_builder, config or EngineConfig())


def _size_of(prompt: Prompt) -> int:
    characters = sum(len(part) for turn in prompt.turns for part in turn.parts if isinstance(part, str))
    return characters + sum(1 + len(turn.parts) for turn in prompt.turns)


def _check_shape(outputs: Mapping[str, ProjectorConfig], modality: str, shape: tuple[int, ...]) -> None:
    if modality not in outputs:
        raise BundleError(f"the projections lack {modality!r}, which the manifest lists under signals")
    queries, width = outputs[modality].queries, outputs[modality].out_width
    # An axis of length 1 does not change the order of the numbers. Any other difference of the shapes does.
    if [side for side in shape if side > 1] != [side for side in (queries, width) if side > 1]:
        raise BundleError(
            f"the projection of {modality!r} has {queries * width} outputs, but its decoder's conditioning is "
            f"{list(shape)}: the manifest must have [{queries}, {width}]"
        )
