import datetime

from motet.internal.buf.validate import validate_pb2 as _validate_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Model(_message.Message):
    __slots__ = ("name", "description", "licence", "digest", "input_modalities", "outputs", "max_output_tokens", "max_duration", "max_media_bytes", "max_input_media", "unavailable", "input_unavailable")
    class Output(_message.Message):
        __slots__ = ("modality", "media_type", "steps", "guidance", "max_parts", "unavailable", "takes")
        MODALITY_FIELD_NUMBER: _ClassVar[int]
        MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
        STEPS_FIELD_NUMBER: _ClassVar[int]
        GUIDANCE_FIELD_NUMBER: _ClassVar[int]
        MAX_PARTS_FIELD_NUMBER: _ClassVar[int]
        UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
        TAKES_FIELD_NUMBER: _ClassVar[int]
        modality: str
        media_type: str
        steps: int
        guidance: float
        max_parts: int
        unavailable: bool
        takes: _containers.RepeatedCompositeFieldContainer[Model.Slot]
        def __init__(self, modality: _Optional[str] = ..., media_type: _Optional[str] = ..., steps: _Optional[int] = ..., guidance: _Optional[float] = ..., max_parts: _Optional[int] = ..., unavailable: _Optional[bool] = ..., takes: _Optional[_Iterable[_Union[Model.Slot, _Mapping]]] = ...) -> None: ...
    class Slot(_message.Message):
        __slots__ = ("modalities",)
        MODALITIES_FIELD_NUMBER: _ClassVar[int]
        modalities: _containers.RepeatedScalarFieldContainer[str]
        def __init__(self, modalities: _Optional[_Iterable[str]] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    LICENCE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    INPUT_MODALITIES_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    MAX_OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    MAX_DURATION_FIELD_NUMBER: _ClassVar[int]
    MAX_MEDIA_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_INPUT_MEDIA_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    INPUT_UNAVAILABLE_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    licence: str
    digest: str
    input_modalities: _containers.RepeatedScalarFieldContainer[str]
    outputs: _containers.RepeatedCompositeFieldContainer[Model.Output]
    max_output_tokens: int
    max_duration: _duration_pb2.Duration
    max_media_bytes: int
    max_input_media: int
    unavailable: bool
    input_unavailable: bool
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ..., licence: _Optional[str] = ..., digest: _Optional[str] = ..., input_modalities: _Optional[_Iterable[str]] = ..., outputs: _Optional[_Iterable[_Union[Model.Output, _Mapping]]] = ..., max_output_tokens: _Optional[int] = ..., max_duration: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., max_media_bytes: _Optional[int] = ..., max_input_media: _Optional[int] = ..., unavailable: _Optional[bool] = ..., input_unavailable: _Optional[bool] = ...) -> None: ...

class ListModelsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListModelsResponse(_message.Message):
    __slots__ = ("models",)
    MODELS_FIELD_NUMBER: _ClassVar[int]
    models: _containers.RepeatedCompositeFieldContainer[Model]
    def __init__(self, models: _Optional[_Iterable[_Union[Model, _Mapping]]] = ...) -> None: ...

class GetModelRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetModelResponse(_message.Message):
    __slots__ = ("model",)
    MODEL_FIELD_NUMBER: _ClassVar[int]
    model: Model
    def __init__(self, model: _Optional[_Union[Model, _Mapping]] = ...) -> None: ...
