"""Workers that are loaded when they are needed."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading

import pytest

from motet.core.deadline import Deadline
from motet.core.errors import BundleError, DeadlineError
from motet.core.media import Media
from motet.core.workers import DecodeJob
from motet.toys.workers import ToyDecoder, ToyEncoder, ToyLanguageModel, grammar_of, tensor_of
from services.lazy import LazyDecoder, LazyEncoder, LazyWorker, unfinished
from tests.services.command import CLEAN, eventually

LANGUAGE_MODEL = LazyWorker(lambda: ToyLanguageModel(grammar_of("image")), "language model")


async def test_nothing_is_loaded_before_it_is_needed_and_then_only_once() -> None:
    loads: list[str] = []
    encoder = LazyEncoder(LazyWorker(lambda: loads.append("encoder") or ToyEncoder(), "encoder"), LANGUAGE_MODEL)  # type: ignore[func-returns-value]
    assert loads == []

    first, second = await asyncio.gather(*(encoder.encode([Media("", b"x")], Deadline.after(5)) for _ in range(2)))

    assert first == second
    assert loads == ["encoder"]


async def test_a_loaded_decoder_is_as_the_decoder_itself() -> None:
    job = DecodeJob("image", tensor_of(b"job", (4,)), seed=1)
    loading = LazyDecoder(LazyWorker(lambda: ToyDecoder("image"), "decoder"))

    events = [event async for event in loading.decode(job, Deadline.after(5))]

    assert events == [event async for event in ToyDecoder("image").decode(job, Deadline.after(5))]


async def test_a_decoder_begins_to_load_when_a_job_for_it_is_expected() -> None:
    loaded = threading.Event()
    decoder = LazyDecoder(LazyWorker(lambda: loaded.set() or ToyDecoder("image"), "decoder"))  # type: ignore[func-returns-value]

    place = decoder.reserve(steps=None, tenant="", priority=0)
    assert await asyncio.to_thread(loaded.wait, 5)
    place.release()

    events = [event async for event in place.decode(DecodeJob("image", tensor_of(b"", (4,)), 1), Deadline.after(5))]
    assert isinstance(events[-1], Media)


async def test_what_loading_raises_reaches_everyone_who_waits() -> None:
    def refuse() -> ToyEncoder:
        raise BundleError("model.safetensors was altered")

    encoder = LazyEncoder(LazyWorker(refuse, "encoder"), LANGUAGE_MODEL)

    for _ in range(2):
        with pytest.raises(BundleError, match="altered"):
            await encoder.encode([], Deadline.after(5))


async def test_a_deadline_is_kept_while_loading_and_the_loading_goes_on() -> None:
    go = threading.Event()
    loading = LazyWorker(lambda: go.wait(5) and ToyEncoder(), "encoder")
    encoder = LazyEncoder(loading, LANGUAGE_MODEL)  # type: ignore[arg-type]

    with pytest.raises(DeadlineError, match="while loading the encoder"):
        await encoder.encode([], Deadline.after(0.01))
    go.set()

    assert await encoder.encode([], Deadline.after(5)) == []


async def test_the_language_model_is_loaded_while_the_encoder_works() -> None:
    loaded = threading.Event()
    language_model = LazyWorker(lambda: loaded.set() or ToyLanguageModel(grammar_of("image")), "language model")  # type: ignore[func-returns-value]
    encoder = LazyEncoder(LazyWorker(ToyEncoder, "encoder"), language_model)  # type: ignore[arg-type]

    await encoder.encode([Media("", b"x")], Deadline.after(5))

    assert await asyncio.to_thread(loaded.wait, 5)


async def test_whether_something_is_still_being_loaded_is_known() -> None:
    go = threading.Event()
    loading = LazyWorker(lambda: go.wait(5), "encoder")
    assert not unfinished()

    loading.begin()
    assert unfinished()

    go.set()
    assert await loading.ready(Deadline.after(5))
    assert await asyncio.to_thread(eventually, lambda: not unfinished())


def test_a_command_that_gives_up_loading_ends_with_its_own_code() -> None:
    # Torch, killed by the interpreter's end while it starts up, takes the whole process down with a code of its own.
    program = (
        "import sys, time; from services.cli.exit import conclude; from services.exit_codes import Exit\n"
        "from services.lazy import Loading\n"
        "def late(): Loading(lambda: __import__('torch'), 'model').begin(); time.sleep(0.2); return Exit.LATE\n"
        "print('said'); sys.exit(conclude(late).exit_code)"
    )

    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=CLEAN)

    assert (told.returncode, told.stdout, told.stderr) == (5, "said\n", "")
