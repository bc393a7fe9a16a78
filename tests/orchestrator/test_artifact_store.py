"""Tests of the artifact store: lifetime, size limit and uploads."""

from __future__ import annotations

import asyncio
import time
from hashlib import sha256

import pytest

from motet.core.errors import NotFoundError, Reason, RequestError
from motet.core.media import CHUNK_BYTES, Media
from orchestrator.artifact_store import ArtifactStore
from tests.orchestrator.pipeline_harness import orchestrator_of


async def download(artifacts, name, offset=0):
    return [chunk async for chunk in artifacts.download(name, offset)]


async def test_a_stored_artifact_is_described_and_downloaded_in_chunks():
    data = bytes(range(256)) * 3000
    artifacts = ArtifactStore(60, 2**20).of("tenant")

    artifact, chunks = await artifacts.keep("a", Media("x/a", data))

    assert (artifact.modality, artifact.media_type, artifact.size_bytes) == ("a", "x/a", len(data))
    assert artifact.sha256 == sha256(data).digest()
    assert b"".join(chunks) == b"".join(await download(artifacts, artifact.name)) == data
    assert {len(chunk) for chunk in chunks[:-1]} == {CHUNK_BYTES}


async def test_the_event_loop_runs_while_large_media_are_hashed_and_copied():
    storing = asyncio.create_task(ArtifactStore(60, 2**26).of("tenant").keep("a", Media("x/a", bytes(2**25))))
    iterations = 0
    while not storing.done():
        await asyncio.sleep(0)
        iterations += 1

    # On the event loop, the work would take two iterations.
    assert iterations > 10


@pytest.mark.parametrize(
    "offset", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES + 9, 2 * CHUNK_BYTES + 10, 10**9]
)
async def test_a_download_starts_at_an_offset(offset):
    data = bytes(2 * CHUNK_BYTES) + b"0123456789"
    artifacts = ArtifactStore(60, 2**20).of("tenant")
    artifact, _ = await artifacts.keep("a", Media("x/a", data))

    assert b"".join(await download(artifacts, artifact.name, offset)) == data[offset:]


async def test_an_artifact_is_removed_after_its_lifetime(monkeypatch):
    artifacts = ArtifactStore(60, 100).of("tenant")
    artifact, _ = await artifacts.keep("a", Media("x/a", b"x"))
    assert artifacts.find(artifact.name)

    after_lifetime = time.time() + 61
    monkeypatch.setattr(time, "time", lambda: after_lifetime)

    with pytest.raises(NotFoundError) as caught:
        artifacts.find(artifact.name)
    assert caught.value.reason is Reason.ARTIFACT_NOT_FOUND
    assert artifacts.store.size_bytes == 0


async def test_the_least_recently_used_artifacts_are_removed_first():
    artifacts = ArtifactStore(60, 100).of("tenant")
    first, second = [(await artifacts.keep("a", Media("x/a", bytes(40))))[0] for _ in range(2)]
    await download(artifacts, first.name)

    third, _ = await artifacts.keep("a", Media("x/a", bytes(40)))

    assert artifacts.store.size_bytes == 80
    for artifact in (first, third):
        assert artifacts.find(artifact.name)
    with pytest.raises(NotFoundError):
        artifacts.find(second.name)


async def test_media_larger_than_the_store_are_refused_and_nothing_is_removed():
    artifacts = ArtifactStore(60, 100).of("tenant")
    artifact, _ = await artifacts.keep("a", Media("x/a", bytes(40)))

    with pytest.raises(RequestError) as caught:
        await artifacts.keep("a", Media("x/a", bytes(101)))

    assert caught.value.reason is Reason.INPUT_TOO_LARGE
    assert artifacts.find(artifact.name)


async def test_deleting_an_artifact_twice_is_no_error():
    orchestrator = orchestrator_of()
    artifact = await orchestrator.upload(Media("x/a", b"a thing"))

    for _ in range(2):
        await orchestrator.delete(artifact.name)

    with pytest.raises(NotFoundError):
        await download(orchestrator, artifact.name)


async def test_the_type_of_an_upload_is_detected():
    artifact = await orchestrator_of().upload(Media("", b"b thing"))

    assert (artifact.modality, artifact.media_type) == ("b", "x/b")


async def test_an_upload_that_no_prompt_can_use_is_refused():
    with pytest.raises(RequestError) as caught:
        await orchestrator_of().upload(Media("x/z", b"?"))
    assert caught.value.reason is Reason.MODALITY_NOT_SUPPORTED

    with pytest.raises(RequestError) as caught:
        await orchestrator_of(max_media_bytes=5).upload(Media("x/a", b"123456"))
    assert caught.value.reason is Reason.INPUT_TOO_LARGE


async def test_a_tenant_that_stores_without_end_removes_only_its_own_artifacts():
    store = ArtifactStore(60, 100)
    modest, _ = await store.of("modest").keep("a", Media("x/a", bytes(20)))

    for _ in range(20):
        newest, _ = await store.of("greedy").keep("a", Media("x/a", bytes(40)))

    assert store.of("modest").find(modest.name)
    assert store.of("greedy").find(newest.name)
    assert (store.of("greedy").size_bytes, store.size_bytes) == (80, 100)
