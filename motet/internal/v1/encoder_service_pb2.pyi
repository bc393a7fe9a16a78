from motet.internal.buf.validate import validate_pb2 as _validate_pb2
from motet.internal.v1 import compute_time_pb2 as _compute_time_pb2
from motet.internal.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EncodeRequest(_message.Message):
    __slots__ = ("header", "chunk")
    class Header(_message.Message):
        __slots__ = ("media_type", "tenant", "priority")
        MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
        TENANT_FIELD_NUMBER: _ClassVar[int]
        PRIORITY_FIELD_NUMBER: _ClassVar[int]
        media_type: str
        tenant: str
        priority: int
        def __init__(self, media_type: _Optional[str] = ..., tenant: _Optional[str] = ..., priority: _Optional[int] = ...) -> None: ...
    HEADER_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    header: EncodeRequest.Header
    chunk: bytes
    def __init__(self, header: _Optional[_Union[EncodeRequest.Header, _Mapping]] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class EncodeResponse(_message.Message):
    __slots__ = ("embeddings", "compute_times")
    EMBEDDINGS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_TIMES_FIELD_NUMBER: _ClassVar[int]
    embeddings: _containers.RepeatedCompositeFieldContainer[_tensor_pb2.Tensor]
    compute_times: _containers.RepeatedCompositeFieldContainer[_compute_time_pb2.ComputeTime]
    def __init__(self, embeddings: _Optional[_Iterable[_Union[_tensor_pb2.Tensor, _Mapping]]] = ..., compute_times: _Optional[_Iterable[_Union[_compute_time_pb2.ComputeTime, _Mapping]]] = ...) -> None: ...
