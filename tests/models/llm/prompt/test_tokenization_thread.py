"""A prompt is tokenized off the event loop, and the work stops with the call."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from motet.core.bundle import Bundle
from motet.core.deadline import Deadline
from motet.core.errors import DeadlineError
from motet.core.workers import Prompt, Turn
from motet.models.llm.config import EngineConfig
from motet.models.llm.language_model import MAX_SIZE_ON_LOOP, LlamaLanguageModel, load_language_model
from motet.models.llm.prompt.prompt_builder import PromptBuilder
from motet.models.llm.tokenizer import Tokenizer
from tests.models.llm.engines import generate
from tests.models.tiny_bundle import WIDTH

HELLO = Prompt((Turn("user", ("hello",)),), max_tokens=3)
LONG = Prompt(
    (
        Turn("user", ("x" * MAX_SIZE_ON_LOOP,)),
        *[Turn("user", ("wait",)), Turn("assistant", ("x",))] * 3,
        Turn("user", ("wait",)),
    ),
    max_tokens=3,
)


class BlockingTokenizer(Tokenizer):
    """A tokenizer that blocks its thread at the text " wait" until `release` is set."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__(tokenizer._tokenizer)
        self.release = threading.Event()
        self.blocked = threading.Semaphore(0)
        self.count = 0

    def encode(self, text: str) -> list[int]:
        if text == " wait":
            self.count += 1
            self.blocked.release()
            assert self.release.wait(30)
        return super().encode(text)


@pytest.fixture
def tokenizer(engine_bundle: Bundle) -> BlockingTokenizer:
    model = load_language_model(engine_bundle, EngineConfig())
    model.close()
    return BlockingTokenizer(model._context.tokenizer)


@pytest.fixture
def model(engine_bundle: Bundle, tokenizer: BlockingTokenizer) -> Iterator[LlamaLanguageModel]:
    context = load_language_model(engine_bundle)._context
    entry = engine_bundle.manifest.language_model
    builder = PromptBuilder(tokenizer, context.grammar, entry.first_control, context.llama.bos_token_id, WIDTH)
    model = LlamaLanguageModel(context, builder, EngineConfig())
    yield model
    tokenizer.release.set()
    model.close()


async def blocked(tokenizer: BlockingTokenizer) -> None:
    """Wait until a thread tokenizes the text."""
    assert await asyncio.to_thread(tokenizer.blocked.acquire, timeout=30)


async def test_other_prompts_are_answered_while_a_prompt_is_tokenized(
    model: LlamaLanguageModel, tokenizer: BlockingTokenizer
) -> None:
    slow = asyncio.create_task(generate(model, LONG))
    await blocked(tokenizer)

    assert await generate(model, HELLO)

    assert not slow.done()
    tokenizer.release.set()
    assert await slow


async def test_a_cancelled_call_stops_before_the_next_turn(
    model: LlamaLanguageModel, tokenizer: BlockingTokenizer
) -> None:
    slow = asyncio.create_task(generate(model, LONG))
    await blocked(tokenizer)
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    tokenizer.release.set()
    # The default executor runs the abandoned work to its end before it closes.
    await asyncio.get_running_loop().shutdown_default_executor()

    assert tokenizer.count == 1


async def test_an_expired_deadline_stops_before_the_next_turn(
    model: LlamaLanguageModel, tokenizer: BlockingTokenizer
) -> None:
    async def expire() -> None:
        await blocked(tokenizer)
        while deadline.remaining():
            await asyncio.sleep(0.001)
        tokenizer.release.set()

    deadline = Deadline.after(0.05)
    expiry = asyncio.create_task(expire())

    with pytest.raises(DeadlineError, match="tokenized the prompt"):
        await anext(model.generate(LONG, deadline))

    await expiry
    assert tokenizer.count == 1
