"""The delivery of an answer to files, with toy workers in this process."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from motet.answers.options import user_message
from motet.answers.output_folder import OutputFolder
from motet.core.errors import FaultError, RequestError
from motet.core.events import Event, PartDelta, PartDone, State
from motet.core.request import GenerationRequest
from motet.core.service import Motet
from motet.toys.workers import ToyDecoder
from services.cli.deliver import deliver
from services.cli.request_options import RequestOptions
from services.cli.screens.plain_screen import PlainScreen
from services.cli.screens.screen import SavedMedia
from services.embedded import embedded
from services.exit_codes import Exit, exit_of
from services.factory import Factory
from tests.services.command import files_in

MODALITIES = ["image", "audio", "video"]


@pytest.fixture
async def motet() -> AsyncIterator[Motet]:
    async with embedded(Factory.of_toys()) as motet:
        yield motet


def request_for(text: str = "hello", **options: Any) -> GenerationRequest:
    return RequestOptions(**options).request([user_message(text, [])])


async def test_text_and_media_are_delivered_in_order_and_media_as_files(motet: Motet, tmp_path: Path) -> None:
    delivery = await deliver(motet, request_for(), OutputFolder(tmp_path), PlainScreen(tmp_path))

    media = [part for part in delivery.parts if isinstance(part, SavedMedia)]
    assert isinstance(delivery.parts[0], str)
    assert delivery.parts[0].startswith("You said: hello.")
    assert sorted(part.modality for part in media) == sorted(MODALITIES)
    assert {part.path.name: part.media.data for part in media} == files_in(tmp_path)
    assert delivery.generation.state is State.SUCCEEDED


async def test_concurrent_commands_in_one_folder_lose_no_file(motet: Motet, tmp_path: Path) -> None:
    deliveries = await asyncio.gather(
        *(deliver(motet, request_for(), OutputFolder(tmp_path), PlainScreen(tmp_path)) for _ in range(4))
    )

    saved = {part.path.name: part.media.data for each in deliveries for part in each.parts if not isinstance(part, str)}
    assert len(saved) == 4 * len(MODALITIES)
    assert saved == files_in(tmp_path)


async def test_a_seed_gives_the_same_files_again(motet: Motet, tmp_path: Path) -> None:
    for name in ("first", "second", "other"):
        seed = 2 if name == "other" else 1
        await deliver(motet, request_for(seed=seed), OutputFolder(tmp_path / name), PlainScreen(tmp_path))

    first, second, other = (files_in(tmp_path / name) for name in ("first", "second", "other"))
    assert first == second
    assert set(first.values()).isdisjoint(other.values())


async def test_media_too_large_for_the_stream_are_downloaded(tmp_path: Path) -> None:
    size = 3 * 2**20 + 1
    factory = replace(Factory.of_toys(), decoder=lambda modality: ToyDecoder(modality, size=size))

    async with embedded(factory) as motet:
        request = request_for(only=frozenset(["image"]))
        delivery = await deliver(motet, request, OutputFolder(tmp_path), PlainScreen(tmp_path))

    (content,) = files_in(tmp_path).values()
    assert len(content) == size
    assert sha256(content).digest() == delivery.generation.parts[-1].sha256


async def test_an_unusable_folder_cancels_the_request(motet: Motet, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")

    with pytest.raises(RequestError, match="choose another folder"):
        await deliver(motet, request_for(), OutputFolder(tmp_path / "out"), PlainScreen(tmp_path))

    records, _ = await motet.generations()
    assert [record.state for record in records] == [State.CANCELLED]


@pytest.mark.parametrize("seconds", [0.0, 0.02, 0.1, 0.2])
async def test_a_cancelled_delivery_leaves_no_draft_and_no_task(tmp_path: Path, seconds: float) -> None:
    before = asyncio.all_tasks()
    async with embedded(Factory.of_toys(delay=0.02)) as motet:
        task = asyncio.create_task(deliver(motet, request_for(), OutputFolder(tmp_path), PlainScreen(tmp_path)))
        await asyncio.sleep(seconds)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    assert asyncio.all_tasks() == before
    assert not [name for name in files_in(tmp_path) if name.endswith(".part")]


@dataclass
class AlteredStream:
    """A Motet whose media are altered, or whose stream ends before an event of class `end_before`."""

    motet: Motet
    end_before: type | None = None
    altered_parts: list[str] = field(default_factory=list)

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:
        async for event in self.motet.generate(request):
            if self.end_before is not None and isinstance(event.payload, self.end_before):
                return
            if isinstance(event.payload, PartDelta) and isinstance(event.payload.chunk, bytes):
                self.altered_parts.append(event.payload.part_id)
                event = replace(event, payload=replace(event.payload, chunk=b"x" * len(event.payload.chunk)))
            yield event


async def test_media_that_do_not_match_their_digest_are_never_written(motet: Motet, tmp_path: Path) -> None:
    altered = AlteredStream(motet)

    with pytest.raises(FaultError, match="does not match its digest"):
        await deliver(altered, request_for(), OutputFolder(tmp_path), PlainScreen(tmp_path))  # type: ignore[arg-type]

    assert altered.altered_parts
    assert not files_in(tmp_path)


async def test_a_stream_without_a_done_event_is_a_fault(motet: Motet, tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="ended before the generation was done"):
        await deliver(AlteredStream(motet, PartDone), request_for(), OutputFolder(tmp_path), PlainScreen(tmp_path))  # type: ignore[arg-type]


async def test_a_medium_at_the_time_limit_has_no_name_and_the_answer_is_late(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = request_for(timeout=1.0, steps={"video": 1000})
    async with embedded(Factory.of_toys(delay=0.01)) as motet:
        with PlainScreen(tmp_path) as screen:
            delivery = await deliver(motet, request, OutputFolder(tmp_path), screen)

    assert exit_of(delivery.generation) is Exit.LATE
    printed = re.findall(r"^\[\w+: (.*)\]$", capsys.readouterr().out, re.MULTILINE)
    assert sorted(map(Path, printed)) == sorted(tmp_path / name for name in files_in(tmp_path))
    assert not [name for name in printed if "video" in name]
