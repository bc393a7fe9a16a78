import datetime

from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from motet.v1 import media_pb2 as _media_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Event(_message.Message):
    __slots__ = ("sequence", "time", "accepted", "plan", "part_started", "part_delta", "part_progress", "part_done", "part_failed", "usage", "heartbeat", "done")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    PART_STARTED_FIELD_NUMBER: _ClassVar[int]
    PART_DELTA_FIELD_NUMBER: _ClassVar[int]
    PART_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    PART_DONE_FIELD_NUMBER: _ClassVar[int]
    PART_FAILED_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    time: _timestamp_pb2.Timestamp
    accepted: Accepted
    plan: Plan
    part_started: PartStarted
    part_delta: PartDelta
    part_progress: PartProgress
    part_done: PartDone
    part_failed: PartFailed
    usage: Usage
    heartbeat: Heartbeat
    done: Done
    def __init__(self, sequence: _Optional[int] = ..., time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., plan: _Optional[_Union[Plan, _Mapping]] = ..., part_started: _Optional[_Union[PartStarted, _Mapping]] = ..., part_delta: _Optional[_Union[PartDelta, _Mapping]] = ..., part_progress: _Optional[_Union[PartProgress, _Mapping]] = ..., part_done: _Optional[_Union[PartDone, _Mapping]] = ..., part_failed: _Optional[_Union[PartFailed, _Mapping]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("generation", "deadline", "seed", "deduplicated")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    DEADLINE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DEDUPLICATED_FIELD_NUMBER: _ClassVar[int]
    generation: str
    deadline: _timestamp_pb2.Timestamp
    seed: int
    deduplicated: bool
    def __init__(self, generation: _Optional[str] = ..., deadline: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., seed: _Optional[int] = ..., deduplicated: _Optional[bool] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("nodes", "complete")
    class Input(_message.Message):
        __slots__ = ("modality", "part_id", "artifact")
        MODALITY_FIELD_NUMBER: _ClassVar[int]
        PART_ID_FIELD_NUMBER: _ClassVar[int]
        ARTIFACT_FIELD_NUMBER: _ClassVar[int]
        modality: str
        part_id: str
        artifact: str
        def __init__(self, modality: _Optional[str] = ..., part_id: _Optional[str] = ..., artifact: _Optional[str] = ...) -> None: ...
    class Node(_message.Message):
        __slots__ = ("part_id", "modality", "depends_on", "inputs")
        PART_ID_FIELD_NUMBER: _ClassVar[int]
        MODALITY_FIELD_NUMBER: _ClassVar[int]
        DEPENDS_ON_FIELD_NUMBER: _ClassVar[int]
        INPUTS_FIELD_NUMBER: _ClassVar[int]
        part_id: str
        modality: str
        depends_on: _containers.RepeatedScalarFieldContainer[str]
        inputs: _containers.RepeatedCompositeFieldContainer[Plan.Input]
        def __init__(self, part_id: _Optional[str] = ..., modality: _Optional[str] = ..., depends_on: _Optional[_Iterable[str]] = ..., inputs: _Optional[_Iterable[_Union[Plan.Input, _Mapping]]] = ...) -> None: ...
    NODES_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    nodes: _containers.RepeatedCompositeFieldContainer[Plan.Node]
    complete: bool
    def __init__(self, nodes: _Optional[_Iterable[_Union[Plan.Node, _Mapping]]] = ..., complete: _Optional[bool] = ...) -> None: ...

class PartStarted(_message.Message):
    __slots__ = ("part_id", "index", "modality", "media_type", "text_anchor", "caption")
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    MODALITY_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    TEXT_ANCHOR_FIELD_NUMBER: _ClassVar[int]
    CAPTION_FIELD_NUMBER: _ClassVar[int]
    part_id: str
    index: int
    modality: str
    media_type: str
    text_anchor: int
    caption: str
    def __init__(self, part_id: _Optional[str] = ..., index: _Optional[int] = ..., modality: _Optional[str] = ..., media_type: _Optional[str] = ..., text_anchor: _Optional[int] = ..., caption: _Optional[str] = ...) -> None: ...

class PartDelta(_message.Message):
    __slots__ = ("part_id", "offset", "text", "data")
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    part_id: str
    offset: int
    text: str
    data: bytes
    def __init__(self, part_id: _Optional[str] = ..., offset: _Optional[int] = ..., text: _Optional[str] = ..., data: _Optional[bytes] = ...) -> None: ...

class PartProgress(_message.Message):
    __slots__ = ("part_id", "step", "total_steps", "preview")
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    TOTAL_STEPS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    part_id: str
    step: int
    total_steps: int
    preview: _media_pb2.InlineMedia
    def __init__(self, part_id: _Optional[str] = ..., step: _Optional[int] = ..., total_steps: _Optional[int] = ..., preview: _Optional[_Union[_media_pb2.InlineMedia, _Mapping]] = ...) -> None: ...

class PartDone(_message.Message):
    __slots__ = ("part_id", "artifact", "sha256", "provenance")
    class ProvenanceEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    part_id: str
    artifact: _media_pb2.Artifact
    sha256: bytes
    provenance: _containers.ScalarMap[str, str]
    def __init__(self, part_id: _Optional[str] = ..., artifact: _Optional[_Union[_media_pb2.Artifact, _Mapping]] = ..., sha256: _Optional[bytes] = ..., provenance: _Optional[_Mapping[str, str]] = ...) -> None: ...

class PartFailed(_message.Message):
    __slots__ = ("part_id", "error", "retryable", "fallback_part_id")
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_PART_ID_FIELD_NUMBER: _ClassVar[int]
    part_id: str
    error: _status_pb2.Status
    retryable: bool
    fallback_part_id: str
    def __init__(self, part_id: _Optional[str] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., retryable: _Optional[bool] = ..., fallback_part_id: _Optional[str] = ...) -> None: ...

class Usage(_message.Message):
    __slots__ = ("input_tokens", "output_tokens", "decoder_steps", "elapsed", "omitted_turns")
    INPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_TOKENS_FIELD_NUMBER: _ClassVar[int]
    DECODER_STEPS_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_FIELD_NUMBER: _ClassVar[int]
    OMITTED_TURNS_FIELD_NUMBER: _ClassVar[int]
    input_tokens: int
    output_tokens: int
    decoder_steps: int
    elapsed: _duration_pb2.Duration
    omitted_turns: int
    def __init__(self, input_tokens: _Optional[int] = ..., output_tokens: _Optional[int] = ..., decoder_steps: _Optional[int] = ..., elapsed: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., omitted_turns: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Done(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: Generation
    def __init__(self, generation: _Optional[_Union[Generation, _Mapping]] = ...) -> None: ...

class Generation(_message.Message):
    __slots__ = ("name", "state", "parts", "failures", "usage", "error", "create_time", "expire_time", "last_sequence", "calls")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Generation.State]
        STATE_RUNNING: _ClassVar[Generation.State]
        STATE_SUCCEEDED: _ClassVar[Generation.State]
        STATE_PARTIAL: _ClassVar[Generation.State]
        STATE_FAILED: _ClassVar[Generation.State]
        STATE_CANCELLED: _ClassVar[Generation.State]
    STATE_UNSPECIFIED: Generation.State
    STATE_RUNNING: Generation.State
    STATE_SUCCEEDED: Generation.State
    STATE_PARTIAL: Generation.State
    STATE_FAILED: Generation.State
    STATE_CANCELLED: Generation.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    USAGE_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: Generation.State
    parts: _containers.RepeatedCompositeFieldContainer[PartDone]
    failures: _containers.RepeatedCompositeFieldContainer[PartFailed]
    usage: Usage
    error: _status_pb2.Status
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    last_sequence: int
    calls: _containers.RepeatedCompositeFieldContainer[WorkerCall]
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[Generation.State, str]] = ..., parts: _Optional[_Iterable[_Union[PartDone, _Mapping]]] = ..., failures: _Optional[_Iterable[_Union[PartFailed, _Mapping]]] = ..., usage: _Optional[_Union[Usage, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., create_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[datetime.datetime, _timestamp_pb2.Timestamp, _Mapping]] = ..., last_sequence: _Optional[int] = ..., calls: _Optional[_Iterable[_Union[WorkerCall, _Mapping]]] = ...) -> None: ...

class WorkerCall(_message.Message):
    __slots__ = ("component", "part_id", "requested", "start", "queue_wait", "end", "source", "replica", "attempts", "gpu_seconds", "cpu_seconds", "mean_batch_size")
    class Source(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        SOURCE_UNSPECIFIED: _ClassVar[WorkerCall.Source]
        SOURCE_WORKER: _ClassVar[WorkerCall.Source]
        SOURCE_CACHE: _ClassVar[WorkerCall.Source]
        SOURCE_SHARED: _ClassVar[WorkerCall.Source]
    SOURCE_UNSPECIFIED: WorkerCall.Source
    SOURCE_WORKER: WorkerCall.Source
    SOURCE_CACHE: WorkerCall.Source
    SOURCE_SHARED: WorkerCall.Source
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    PART_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_FIELD_NUMBER: _ClassVar[int]
    START_FIELD_NUMBER: _ClassVar[int]
    QUEUE_WAIT_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    GPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    CPU_SECONDS_FIELD_NUMBER: _ClassVar[int]
    MEAN_BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    component: str
    part_id: str
    requested: _duration_pb2.Duration
    start: _duration_pb2.Duration
    queue_wait: _duration_pb2.Duration
    end: _duration_pb2.Duration
    source: WorkerCall.Source
    replica: int
    attempts: int
    gpu_seconds: float
    cpu_seconds: float
    mean_batch_size: float
    def __init__(self, component: _Optional[str] = ..., part_id: _Optional[str] = ..., requested: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., start: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., queue_wait: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., end: _Optional[_Union[datetime.timedelta, _duration_pb2.Duration, _Mapping]] = ..., source: _Optional[_Union[WorkerCall.Source, str]] = ..., replica: _Optional[int] = ..., attempts: _Optional[int] = ..., gpu_seconds: _Optional[float] = ..., cpu_seconds: _Optional[float] = ..., mean_batch_size: _Optional[float] = ...) -> None: ...
