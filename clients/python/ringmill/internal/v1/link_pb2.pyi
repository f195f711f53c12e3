from ringmill.v1 import processing_pb2 as _processing_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JoinRequest(_message.Message):
    __slots__ = ("registration", "results", "heartbeat", "draining")
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    registration: Registration
    results: _containers.RepeatedCompositeFieldContainer[PartResult]
    heartbeat: Heartbeat
    draining: bool
    def __init__(self, registration: _Optional[_Union[Registration, _Mapping]] = ..., results: _Optional[_Iterable[_Union[PartResult, _Mapping]]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., draining: _Optional[bool] = ...) -> None: ...

class Registration(_message.Message):
    __slots__ = ("name", "incarnation", "weight", "cluster", "pipelines", "pipeline_names", "address", "events_max", "view_version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    PIPELINES_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_NAMES_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_MAX_FIELD_NUMBER: _ClassVar[int]
    VIEW_VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    incarnation: int
    weight: int
    cluster: str
    pipelines: _containers.RepeatedCompositeFieldContainer[_processing_pb2.DescribePipelineResponse]
    pipeline_names: _containers.RepeatedScalarFieldContainer[str]
    address: str
    events_max: _containers.RepeatedScalarFieldContainer[int]
    view_version: int
    def __init__(self, name: _Optional[str] = ..., incarnation: _Optional[int] = ..., weight: _Optional[int] = ..., cluster: _Optional[str] = ..., pipelines: _Optional[_Iterable[_Union[_processing_pb2.DescribePipelineResponse, _Mapping]]] = ..., pipeline_names: _Optional[_Iterable[str]] = ..., address: _Optional[str] = ..., events_max: _Optional[_Iterable[int]] = ..., view_version: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("keys", "state_bytes", "events")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    keys: int
    state_bytes: int
    events: int
    def __init__(self, keys: _Optional[int] = ..., state_bytes: _Optional[int] = ..., events: _Optional[int] = ...) -> None: ...

class JoinResponse(_message.Message):
    __slots__ = ("view", "parts", "heartbeat_ms")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    view: View
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    heartbeat_ms: int
    def __init__(self, view: _Optional[_Union[View, _Mapping]] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., heartbeat_ms: _Optional[int] = ...) -> None: ...

class View(_message.Message):
    __slots__ = ("version", "members", "partitions", "cluster", "owners")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    OWNERS_FIELD_NUMBER: _ClassVar[int]
    version: int
    members: _containers.RepeatedCompositeFieldContainer[Member]
    partitions: int
    cluster: str
    owners: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, version: _Optional[int] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., partitions: _Optional[int] = ..., cluster: _Optional[str] = ..., owners: _Optional[_Iterable[int]] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("name", "incarnation", "weight", "alive", "address")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    name: str
    incarnation: int
    weight: int
    alive: bool
    address: str
    def __init__(self, name: _Optional[str] = ..., incarnation: _Optional[int] = ..., weight: _Optional[int] = ..., alive: _Optional[bool] = ..., address: _Optional[str] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("id", "pipeline", "request")
    ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    id: int
    pipeline: int
    request: bytes
    def __init__(self, id: _Optional[int] = ..., pipeline: _Optional[int] = ..., request: _Optional[bytes] = ...) -> None: ...

class PartResult(_message.Message):
    __slots__ = ("id", "response", "code", "detail")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    id: int
    response: bytes
    code: int
    detail: str
    def __init__(self, id: _Optional[int] = ..., response: _Optional[bytes] = ..., code: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...
