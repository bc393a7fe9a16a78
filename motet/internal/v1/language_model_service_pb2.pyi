from motet.internal.buf.validate import validate_pb2 as _validate_pb2
from motet.internal.v1 import compute_time_pb2 as _compute_time_pb2
from motet.internal.v1 import tensor_pb2 as _tensor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Turn(_message.Message):
    __slots__ = ("role", "parts")
    class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        ROLE_UNSPECIFIED: _ClassVar[Turn.Role]
        ROLE_USER: _ClassVar[Turn.Role]
        ROLE_ASSISTANT: _ClassVar[Turn.Role]
    ROLE_UNSPECIFIED: Turn.Role
    ROLE_USER: Turn.Role
    ROLE_ASSISTANT: Turn.Role
    class Part(_message.Message):
        __slots__ = ("text", "embedding")
        TEXT_FIELD_NUMBER: _ClassVar[int]
        EMBEDDING_FIELD_NUMBER: _ClassVar[int]
        text: str
        embedding: Turn.Embedding
        def __init__(self, text: _Optional[str] = ..., embedding: _Optional[_Union[Turn.Embedding, _Mapping]] = ...) -> None: ...
    class Embedding(_message.Message):
        __slots__ = ("modality", "tensor")
        MODALITY_FIELD_NUMBER: _ClassVar[int]
        TENSOR_FIELD_NUMBER: _ClassVar[int]
        modality: str
        tensor: _tensor_pb2.Tensor
        def __init__(self, modality: _Optional[str] = ..., tensor: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    ROLE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    role: Turn.Role
    parts: _containers.RepeatedCompositeFieldContainer[Turn.Part]
    def __init__(self, role: _Optional[_Union[Turn.Role, str]] = ..., parts: _Optional[_Iterable[_Union[Turn.Part, _Mapping]]] = ...) -> None: ...

class GenerateRequest(_message.Message):
    __slots__ = ("turns", "ceilings", "max_tokens", "temperature", "top_p", "seed", "tenant", "priority")
    class CeilingsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    TURNS_FIELD_NUMBER: _ClassVar[int]
    CEILINGS_FIELD_NUMBER: _ClassVar[int]
    MAX_TOKENS_FIELD_NUMBER: _ClassVar[int]
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    turns: _containers.RepeatedCompositeFieldContainer[Turn]
    ceilings: _containers.ScalarMap[str, int]
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    tenant: str
    priority: int
    def __init__(self, turns: _Optional[_Iterable[_Union[Turn, _Mapping]]] = ..., ceilings: _Optional[_Mapping[str, int]] = ..., max_tokens: _Optional[int] = ..., temperature: _Optional[float] = ..., top_p: _Optional[float] = ..., seed: _Optional[int] = ..., tenant: _Optional[str] = ..., priority: _Optional[int] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("events", "compute_times")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_TIMES_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    compute_times: _containers.RepeatedCompositeFieldContainer[_compute_time_pb2.ComputeTime]
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., compute_times: _Optional[_Iterable[_Union[_compute_time_pb2.ComputeTime, _Mapping]]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("text", "signal_started", "signal", "signal_broken", "finished", "signal_suppressed")
    class SignalStarted(_message.Message):
        __slots__ = ("modality",)
        MODALITY_FIELD_NUMBER: _ClassVar[int]
        modality: str
        def __init__(self, modality: _Optional[str] = ...) -> None: ...
    class Signal(_message.Message):
        __slots__ = ("modality", "conditioning")
        MODALITY_FIELD_NUMBER: _ClassVar[int]
        CONDITIONING_FIELD_NUMBER: _ClassVar[int]
        modality: str
        conditioning: _tensor_pb2.Tensor
        def __init__(self, modality: _Optional[str] = ..., conditioning: _Optional[_Union[_tensor_pb2.Tensor, _Mapping]] = ...) -> None: ...
    class SignalBroken(_message.Message):
        __slots__ = ("modality", "message")
        MODALITY_FIELD_NUMBER: _ClassVar[int]
        MESSAGE_FIELD_NUMBER: _ClassVar[int]
        modality: str
        message: str
        def __init__(self, modality: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
    class SignalSuppressed(_message.Message):
        __slots__ = ("modality", "limit")
        class Limit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            LIMIT_UNSPECIFIED: _ClassVar[Event.SignalSuppressed.Limit]
            LIMIT_CEILING: _ClassVar[Event.SignalSuppressed.Limit]
            LIMIT_LENGTH: _ClassVar[Event.SignalSuppressed.Limit]
        LIMIT_UNSPECIFIED: Event.SignalSuppressed.Limit
        LIMIT_CEILING: Event.SignalSuppressed.Limit
        LIMIT_LENGTH: Event.SignalSuppressed.Limit
        MODALITY_FIELD_NUMBER: _ClassVar[int]
        LIMIT_FIELD_NUMBER: _ClassVar[int]
        modality: str
        limit: Event.SignalSuppressed.Limit
        def __init__(self, modality: _Optional[str] = ..., limit: _Optional[_Union[Event.SignalSuppressed.Limit, str]] = ...) -> None: ...
    class Finished(_message.Message):
        __slots__ = ("cause", "input_tokens", "output_tokens", "omitted_turns")
        class Cause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
            __slots__ = ()
            CAUSE_UNSPECIFIED: _ClassVar[Event.Finished.Cause]
            CAUSE_STOP: _ClassVar[Event.Finished.Cause]
            CAUSE_LENGTH: _ClassVar[Event.Finished.Cause]
        CAUSE_UNSPECIFIED: Event.Finished.Cause
        CAUSE_STOP: Event.Finished.Cause
        CAUSE_LENGTH: Event.Finished.Cause
        CAUSE_FIELD_NUMBER: _ClassVar[int]
        INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
        OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
        OMITTED_TURNS_FIELD_NUMBER: _ClassVar[int]
        cause: Event.Finished.Cause
        input_tokens: int
        output_tokens: int
        omitted_turns: int
        def __init__(self, cause: _Optional[_Union[Event.Finished.Cause, str]] = ..., input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., omitted_turns: _Optional[int] = ...) -> None: ...
    TEXT_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_STARTED_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_BROKEN_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    SIGNAL_SUPPRESSED_FIELD_NUMBER: _ClassVar[int]
    text: str
    signal_started: Event.SignalStarted
    signal: Event.Signal
    signal_broken: Event.SignalBroken
    finished: Event.Finished
    signal_suppressed: Event.SignalSuppressed
    def __init__(self, text: _Optional[str] = ..., signal_started: _Optional[_Union[Event.SignalStarted, _Mapping]] = ..., signal: _Optional[_Union[Event.Signal, _Mapping]] = ..., signal_broken: _Optional[_Union[Event.SignalBroken, _Mapping]] = ..., finished: _Optional[_Union[Event.Finished, _Mapping]] = ..., signal_suppressed: _Optional[_Union[Event.SignalSuppressed, _Mapping]] = ...) -> None: ...
