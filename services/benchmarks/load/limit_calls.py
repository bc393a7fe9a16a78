"""Calls at the limits of the contract, and beyond: the largest messages, the most fields and the longest streams."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import uuid4

import grpc.aio
from google.protobuf.message import Message

from motet.core.media import CHUNK_BYTES, MAX_INLINE_BYTES, MAX_MEDIA_BYTES, MEBI
from motet.internal.v1 import decoder_service_pb2 as decoder_pb
from motet.internal.v1 import encoder_service_pb2 as encoder_pb
from motet.internal.v1 import language_model_service_pb2 as llm_pb
from motet.toys.manifest import TOY
from motet.transport.channel import MAX_MESSAGE_BYTES
from motet.v1 import artifact_service_pb2 as artifact_pb
from motet.v1 import generation_service_pb2 as generation_pb

_MESSAGE = MAX_MESSAGE_BYTES - 1024
"""Size of the largest messages, in bytes."""
_FRAMES = 16_384
_TEXT = 256 * 1024
_OPTIONS = {"image": {"steps": 1000, "guidance": 50.0, "min_steps": 1}}
_CONDITIONING = {"dtype": "float32", "shape": [4], "data": bytes(16)}


@dataclass(frozen=True, slots=True)
class LimitCall:
    """A call at a limit. `service` is a kind of `watched_service`, `method` the path of the method.

    `frames` returns the messages of the request, encoded.
    """

    service: str
    name: str
    method: str
    frames: Callable[[], Iterable[bytes]]

    async def run(self, channel: grpc.aio.Channel) -> grpc.StatusCode:
        """Run the call to its end. Return its status code."""

        async def frames() -> AsyncIterator[bytes]:
            for frame in self.frames():
                yield frame

        method: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(self.method)
        call = method(frames(), timeout=120)
        try:
            async for _ in call:
                pass
        except grpc.aio.AioRpcError as error:
            return error.code()
        return await call.code()


def _one(message: Message | bytes) -> Callable[[], Iterable[bytes]]:
    encoded = message if isinstance(message, bytes) else message.SerializeToString()
    return lambda: [encoded]


def _flood(field: bytes, start: bytes = b"") -> Callable[[], Iterable[bytes]]:
    """Return one message that consists of the same encoded field."""
    return _one(start + field * ((_MESSAGE - len(start)) // len(field)))


def _generate(**fields: Any) -> generation_pb.GenerateRequest:
    turns = fields.pop("turns", [{"role": 1, "parts": [{"text": "hello"}]}])
    return generation_pb.GenerateRequest(turns=turns, request_id=str(uuid4()), **fields)


def _turns(turns: int, parts: int, text: str) -> list[dict[str, Any]]:
    return [{"role": 1, "parts": [{"text": text}] * parts}] * turns


def _upload(size: int, chunk: int) -> Iterable[bytes]:
    data = os.urandom(chunk)
    digest = sha256()
    for _ in range(size // chunk):
        digest.update(data)
    header = artifact_pb.UploadArtifactRequest.Header(size_bytes=size, sha256=digest.digest())
    yield artifact_pb.UploadArtifactRequest(header=header).SerializeToString()
    frame = artifact_pb.UploadArtifactRequest(chunk=data).SerializeToString()
    for _ in range(size // chunk):
        yield frame


def _items(count: int, size: int, chunk: int) -> Iterable[bytes]:
    header = encoder_pb.EncodeRequest(header={}).SerializeToString()
    frame = encoder_pb.EncodeRequest(chunk=bytes(chunk)).SerializeToString()
    for _ in range(count):
        yield header
        for _ in range(size // chunk):
            yield frame


def limit_calls() -> list[LimitCall]:
    """Return one call for each limit of each service. Some are valid, the others are refused."""
    generate = "/motet.v1.GenerationService/"
    upload = "/motet.v1.ArtifactService/UploadArtifact"
    encode = "/motet.internal.v1.EncoderService/Encode"
    write = "/motet.internal.v1.LanguageModelService/Generate"
    decode = "/motet.internal.v1.DecoderService/Decode"
    hello = _generate().SerializeToString()
    largest_text = MAX_MESSAGE_BYTES // _TEXT - 1
    calls: Mapping[str, Mapping[str, tuple[str, Callable[[], Iterable[bytes]]]]] = {
        "orchestrator": {
            "empty turns": (f"{generate}Generate", _flood(b"\x1a\x00")),
            "turns of one empty part": (f"{generate}Generate", _flood(b"\x1a\x02\x12\x00")),
            "empty modalities": (f"{generate}Generate", _flood(b"\x22\x00", hello)),
            "unknown fields": (f"{generate}Generate", _flood(b"\xa2\x3f\x00", hello)),
            "256 turns of 16 parts": (f"{generate}Generate", _one(_generate(turns=_turns(256, 16, "word")))),
            "texts of 256 KiB": (f"{generate}Generate", _one(_generate(turns=_turns(1, largest_text, "x" * _TEXT)))),
            "the largest options": (f"{generate}Generate", _one(_generate(decoder_options=_OPTIONS))),
            "inline media": (
                f"{generate}Generate",
                _one(_generate(turns=[{"role": 1, "parts": [{"media": {"data": os.urandom(MAX_INLINE_BYTES)}}] * 3}])),
            ),
            "a page of 1000 records": (
                f"{generate}ListGenerations",
                _one(generation_pb.ListGenerationsRequest(page_size=1000)),
            ),
            "the largest upload": (upload, lambda: _upload(MAX_MEDIA_BYTES, CHUNK_BYTES)),
            "the most chunks": (upload, lambda: _upload(_FRAMES - 1, 1)),
            "too many chunks": (upload, lambda: _upload(2 * _FRAMES, 1)),
        },
        "encoder": {
            "256 items": (encode, lambda: _items(256, 1, 1)),
            "headers without a chunk": (encode, lambda: _items(2 * _FRAMES, 0, 1)),
            "chunks of one byte": (encode, lambda: _items(1, 2 * _FRAMES, 1)),
            "items of 1 MiB": (encode, lambda: _items(32, MEBI, CHUNK_BYTES)),
        },
        "language model": {
            "empty turns": (write, _flood(b"\x0a\x00")),
            "256 turns of 16 parts": (write, _one(_prompt(_turns(256, 16, "word")))),
            "texts of 256 KiB": (write, _one(_prompt(_turns(1, largest_text, "x" * _TEXT)))),
            "64 embeddings": (write, _one(_prompt([{"role": 1, "parts": [_EMBEDDING] * 64}]))),
        },
        "decoder": {
            "empty inputs": (decode, _flood(b"\x3a\x00")),
            "dimensions": (decode, _flood(b"\x12\x02\x10\x01")),
            "conditioning of 3 MiB": (
                decode,
                _one(_job(conditioning={"dtype": "float32", "shape": [3 * 2**18], "data": bytes(3 * MEBI)})),
            ),
            "three inputs of 1 MiB": (decode, _one(_job(inputs=[{"data": bytes(MEBI)}] * 3))),
            "32 inputs of 1 MiB": (f"{decode}Chunked", lambda: _inputs(32, MEBI)),
            "the largest inputs": (f"{decode}Chunked", lambda: _inputs(3, MAX_MEDIA_BYTES)),
            "1000 steps": (decode, _one(_job(steps=1000, previews=True))),
        },
    }
    return [LimitCall(service, name, *call) for service, named in calls.items() for name, call in named.items()]


def _inputs(count: int, size: int) -> Iterable[bytes]:
    chunk = bytes(CHUNK_BYTES)
    digest = sha256(bytes(size)).digest()
    yield decoder_pb.DecodeChunkedRequest(job=_job()).SerializeToString()
    header = decoder_pb.DecodeChunkedRequest(input={"size_bytes": size, "sha256": digest}).SerializeToString()
    frame = decoder_pb.DecodeChunkedRequest(chunk=chunk).SerializeToString()
    for _ in range(count):
        yield header
        for _ in range(size // CHUNK_BYTES):
            yield frame


_EMBEDDING = {"embedding": {"modality": "image", "tensor": {"dtype": "float32", "shape": [4096], "data": bytes(2**14)}}}


def _prompt(turns: list[dict[str, Any]]) -> llm_pb.GenerateRequest:
    ceilings = dict.fromkeys(TOY.signals, 8)
    return llm_pb.GenerateRequest(turns=turns, ceilings=ceilings, max_tokens=2048, top_p=1.0)


def _job(**fields: Any) -> decoder_pb.DecodeRequest:
    return decoder_pb.DecodeRequest(**{"modality": "image", "conditioning": _CONDITIONING, **fields})
