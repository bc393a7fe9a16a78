import datetime

from motet.internal.buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from motet.v1 import event_pb2 as _event_pb2
from motet.v1 import media_pb2 as _media_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FailurePolicy(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FAILURE_POLICY_UNSPECIFIED: _ClassVar[FailurePolicy]
    FAILURE_POLICY_BEST_EFFORT: _ClassVar[FailurePolicy]
    FAILURE_POLICY_ALL_OR_NOTHING: _ClassVar[FailurePolicy]
    FAILURE_POLICY_TEXT_FALLBACK: _ClassVar[FailurePolicy]
FAILURE_POLICY_UNSPECIFIED: FailurePolicy
FAILURE_POLICY_BEST_EFFORT: FailurePolicy
FAILURE_POLICY_ALL_OR_NOTHING: FailurePolicy
FAILURE_POLICY_TEXT_FALLBACK: FailurePolicy

class GenerateRequest(_message.Message):
    __slots__ = ("request_id", "model", "turns", "allowed_modalities", "failure_policy", "seed", "detach", "previews", "limits", "sampling", "decoder_options", "tenant", "priority")
    class DecoderOptionsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: DecoderOptions
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[DecoderOptions, _Mapping]] = ...) -> None: ...
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TURNS_FIELD_NUMBER: _ClassVar[int]
    ALLOWED_MODALITIES_FIELD_NUMBER: _ClassVar[int]
    FAILURE_POLICY_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DETACH_FIELD_NUMBER: _ClassVar[int]
    PREVIEWS_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_FIELD_NUMBER: _ClassVar[int]
    DECODER_OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    model: str
    turns: _containers.RepeatedCompositeFieldContainer[_media_pb2.Turn]
    allowed_modalities: _containers.RepeatedScalarFieldContainer[str]
    failure_policy: FailurePolicy
    seed: int
    detach: bool
    previews: bool
    limits: Limits
    sampling: Sampling
    decoder_options: _containers.MessageMap[str, DecoderOptions]
    tenant: str
    priority: int
    def __init__(self, request_id: _Optional[str] = ..., model: _Optional[str] = ..., turns: _Optional[_Iterable[_Union[_media_pb2.Turn, _Mapping]]] = ..., allowed_modalities: _Optional[_Iterable[str]] = ..., failure_policy: _Optional[_Union[FailurePolicy, str]] = ..., seed: _Optional[int] = ..., detach: _Optional[bool] = ..., previews: _Optional[bool] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., sampling: _Optional[_Union[Sampling, _Mapping]] = ..., decoder_options: _Optional[_Mapping[str, DecoderOptions]] = ..., tenant: _Optional[str] = ..., priority: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_output_tokens", "max_parts", "timeout")
    class MaxPartsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_PARTS_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    max_output_tokens: int
    max_parts: _containers.ScalarMap[str, int]
    timeout: _duration_pb2.Duration
    def __init__(self, max_output_tokens: _Optional[int] = ..., max_parts: _Optional[_Mapping[str, int]] = ..., timeout: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Sampling(_message.Message):
    __slots__ = ("temperature", "top_p")
    TEMPERATURE_FIELD_NUMBER: _ClassVar[int]
    TOP_P_FIELD_NUMBER: _ClassVar[int]
    temperature: float
    top_p: float
    def __init__(self, temperature: _Optional[float] = ..., top_p: _Optional[float] = ...) -> None: ...

class DecoderOptions(_message.Message):
    __slots__ = ("steps", "guidance", "min_steps")
    STEPS_FIELD_NUMBER: _ClassVar[int]
    GUIDANCE_FIELD_NUMBER: _ClassVar[int]
    MIN_STEPS_FIELD_NUMBER: _ClassVar[int]
    steps: int
    guidance: float
    min_steps: int
    def __init__(self, steps: _Optional[int] = ..., guidance: _Optional[float] = ..., min_steps: _Optional[int] = ...) -> None: ...

class GenerateResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    def __init__(self, events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ...) -> None: ...

class WatchGenerationRequest(_message.Message):
    __slots__ = ("name", "after_sequence")
    NAME_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    after_sequence: int
    def __init__(self, name: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class WatchGenerationResponse(_message.Message):
    __slots__ = ("events",)
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_event_pb2.Event]
    def __init__(self, events: _Optional[_Iterable[_Union[_event_pb2.Event, _Mapping]]] = ...) -> None: ...

class GetGenerationRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetGenerationResponse(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: _event_pb2.Generation
    def __init__(self, generation: _Optional[_Union[_event_pb2.Generation, _Mapping]] = ...) -> None: ...

class ListGenerationsRequest(_message.Message):
    __slots__ = ("page_size", "page_token")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListGenerationsResponse(_message.Message):
    __slots__ = ("generations", "next_page_token")
    GENERATIONS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    generations: _containers.RepeatedCompositeFieldContainer[_event_pb2.Generation]
    next_page_token: str
    def __init__(self, generations: _Optional[_Iterable[_Union[_event_pb2.Generation, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class CancelGenerationRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class CancelGenerationResponse(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: _event_pb2.Generation
    def __init__(self, generation: _Optional[_Union[_event_pb2.Generation, _Mapping]] = ...) -> None: ...
