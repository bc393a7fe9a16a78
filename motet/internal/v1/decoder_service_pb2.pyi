from motet.internal.buf.validate import validate_pb2 as _validate_pb2
from motet.internal.v1 import compute_time_pb2 as _compute_time_pb2
from motet.internal.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class DecodeRequest(_message.Message):
    __slots__ = ("modality", "conditioning", "seed", "steps", "guidance", "previews", "inputs", "tenant", "priority", "min_steps")
    class Input(_message.Message):
        __slots__ = ("media_type", "data", "size_bytes", "sha256")
        MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
        DATA_FIELD_NUMBER: _ClassVar[int]
        SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        media_type: str
        data: bytes
        size_bytes: int
        sha256: bytes
        def __init__(self, media_type: _Optional[str] = ..., data: _Optional[bytes] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ...) -> None: ...
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    CONDITIONING_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    PREVIEWS_FIELD_NUMBER: _ClassVar[int]
    INPUTS_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    MIN_STEPS_FIELD_NUMBER: _ClassVar[int]
    modality: str
    conditioning: _tensor_pb2.Tensor
    seed: int
    steps: int
    guidance: float
    previews: bool
    inputs: _containers.RepeatedCompositeFieldContainer[DecodeRequest.Input]
    tenant: str
    priority: int
    min_steps: int
    def __init__(self, modality: _Optional[str] = ..., conditioning: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ..., seed: _Optional[int] = ..., steps: _Optional[int] = ..., guidance: _Optional[float] = ..., previews: _Optional[bool] = ..., inputs: _Optional[_Iterable[_Union[DecodeRequest.Input, _Mapping]]] = ..., tenant: _Optional[str] = ..., priority: _Optional[int] = ..., min_steps: _Optional[int] = ...) -> None: ...

class DecodeChunkedRequest(_message.Message):
    __slots__ = ("job", "input", "chunk")
    JOB_FIELD_NUMBER: _ClassVar[int]
    INPUT_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    job: DecodeRequest
    input: DecodeRequest.Input
    chunk: bytes
    def __init__(self, job: _Optional[_Union[DecodeRequest, _Mapping]] = ..., input: _Optional[_Union[DecodeRequest.Input, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class DecodeResponse(_message.Message):
    __slots__ = ("events", "compute_times")
    class Progress(_message.Message):
        __slots__ = ("step", "total_steps", "preview_media_type", "preview")
        STEP_FIELD_NUMBER: _ClassVar[int]
        TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
        PREVIEW_MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
        PREVIEW_FIELD_NUMBER: _ClassVar[int]
        step: int
        total_steps: int
        preview_media_type: str
        preview: bytes
        def __init__(self, step: _Optional[int] = ..., total_steps: _Optional[int] = ..., preview_media_type: _Optional[str] = ..., preview: _Optional[bytes] = ...) -> None: ...
    class Media(_message.Message):
        __slots__ = ("media_type", "size_bytes", "sha256", "data")
        MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
        SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
        SHA256_FIELD_NUMBER: _ClassVar[int]
        DATA_FIELD_NUMBER: _ClassVar[int]
        media_type: str
        size_bytes: int
        sha256: bytes
        data: bytes
        def __init__(self, media_type: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[bytes] = ..., data: _Optional[bytes] = ...) -> None: ...
    class Event(_message.Message):
        __slots__ = ("progress", "media", "chunk")
        PROGRESS_FIELD_NUMBER: _ClassVar[int]
        MEDIA_FIELD_NUMBER: _ClassVar[int]
        CHUNK_FIELD_NUMBER: _ClassVar[int]
        progress: DecodeResponse.Progress
        media: DecodeResponse.Media
        chunk: bytes
        def __init__(self, progress: _Optional[_Union[DecodeResponse.Progress, _Mapping]] = ..., media: _Optional[_Union[DecodeResponse.Media, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_TIMES_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[DecodeResponse.Event]
    compute_times: _containers.RepeatedCompositeFieldContainer[_compute_time_pb2.ComputeTime]
    def __init__(self, events: _Optional[_Iterable[_Union[DecodeResponse.Event, _Mapping]]] = ..., compute_times: _Optional[_Iterable[_Union[_compute_time_pb2.ComputeTime, _Mapping]]] = ...) -> None: ...
