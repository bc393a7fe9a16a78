"""Media that are kept for a while."""

from __future__ import annotations

import asyncio
from hashlib import sha256

import pytest

from motet.core.errors import NotFoundError, Reason, RequestError
from motet.core.media import Media
from orchestrator.artifact_store import CHUNK, ArtifactStore
from tests.orchestrator.pipeline_harness import orchestrator_of


async def fetched(artifacts, name, offset=0):
    return [chunk async for chunk in artifacts.download(name, offset)]


async def test_what_is_kept_is_described_and_downloaded_in_chunks():
    data = bytes(range(256)) * 3000
    artifacts = ArtifactStore(60, 2**20)

    artifact, chunks = await artifacts.keep("a", Media("x/a", data))

    assert (artifact.modality, artifact.media_type, artifact.size_bytes) == ("a", "x/a", len(data))
    assert artifact.sha256 == sha256(data).digest()
    assert b"".join(chunks) == b"".join(await fetched(artifacts, artifact.name)) == data
    assert {len(chunk) for chunk in chunks[:-1]} == {CHUNK}


@pytest.mark.parametrize("offset", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 9, 2 * CHUNK + 10, 10**9])
async def test_a_download_goes_on_from_an_offset(offset):
    data = bytes(2 * CHUNK) + b"0123456789"
    artifacts = ArtifactStore(60, 2**20)
    artifact, _ = await artifacts.keep("a", Media("x/a", data))

    assert b"".join(await fetched(artifacts, artifact.name, offset)) == data[offset:]


async def test_an_artifact_is_forgotten_after_its_time():
    artifacts = ArtifactStore(0.02, 100)
    artifact, _ = await artifacts.keep("a", Media("x/a", b"x"))
    assert artifacts.find(artifact.name)

    await asyncio.sleep(0.03)

    with pytest.raises(NotFoundError) as caught:
        artifacts.find(artifact.name)
    assert caught.value.reason is Reason.ARTIFACT_NOT_FOUND
    assert artifacts.size_bytes == 0


async def test_the_least_recently_used_make_room():
    artifacts = ArtifactStore(60, 100)
    first, second = [(await artifacts.keep("a", Media("x/a", bytes(40))))[0] for _ in range(2)]
    await fetched(artifacts, first.name)

    third, _ = await artifacts.keep("a", Media("x/a", bytes(40)))

    assert artifacts.size_bytes == 80
    for kept in (first, third):
        assert artifacts.find(kept.name)
    with pytest.raises(NotFoundError):
        artifacts.find(second.name)


async def test_what_could_never_fit_is_refused_and_pushes_nothing_out():
    artifacts = ArtifactStore(60, 100)
    kept, _ = await artifacts.keep("a", Media("x/a", bytes(40)))

    with pytest.raises(RequestError) as caught:
        await artifacts.keep("a", Media("x/a", bytes(101)))

    assert caught.value.reason is Reason.INPUT_TOO_LARGE
    assert artifacts.find(kept.name)


async def test_deleting_is_forgetting_and_deleting_again_changes_nothing():
    orchestrator = orchestrator_of()
    artifact = await orchestrator.upload(Media("x/a", b"a thing"))

    for _ in range(2):
        await orchestrator.delete(artifact.name)

    with pytest.raises(NotFoundError):
        await fetched(orchestrator, artifact.name)


async def test_an_upload_is_what_its_bytes_are():
    artifact = await orchestrator_of().upload(Media("", b"b thing"))

    assert (artifact.modality, artifact.media_type) == ("b", "x/b")


async def test_an_upload_that_cannot_be_used_in_a_prompt_is_refused():
    with pytest.raises(RequestError) as caught:
        await orchestrator_of().upload(Media("x/z", b"?"))
    assert caught.value.reason is Reason.MODALITY_NOT_SUPPORTED

    with pytest.raises(RequestError) as caught:
        await orchestrator_of(max_media_bytes=5).upload(Media("x/a", b"123456"))
    assert caught.value.reason is Reason.INPUT_TOO_LARGE
