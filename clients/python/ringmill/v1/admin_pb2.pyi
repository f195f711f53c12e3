from ringmill.v1 import processing_pb2 as _processing_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ListWorkersRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListWorkersResponse(_message.Message):
    __slots__ = ("epoch", "workers")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    workers: _containers.RepeatedCompositeFieldContainer[Worker]
    def __init__(self, epoch: _Optional[int] = ..., workers: _Optional[_Iterable[_Union[Worker, _Mapping]]] = ...) -> None: ...

class Worker(_message.Message):
    __slots__ = ("name", "state", "partitions")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    partitions: int
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., partitions: _Optional[int] = ...) -> None: ...

class MoveWorkersRequest(_message.Message):
    __slots__ = ("scale_to", "drain", "restart_all", "validate_only")
    SCALE_TO_FIELD_NUMBER: _ClassVar[int]
    DRAIN_FIELD_NUMBER: _ClassVar[int]
    RESTART_ALL_FIELD_NUMBER: _ClassVar[int]
    VALIDATE_ONLY_FIELD_NUMBER: _ClassVar[int]
    scale_to: int
    drain: str
    restart_all: bool
    validate_only: bool
    def __init__(self, scale_to: _Optional[int] = ..., drain: _Optional[str] = ..., restart_all: _Optional[bool] = ..., validate_only: _Optional[bool] = ...) -> None: ...

class MoveWorkersResponse(_message.Message):
    __slots__ = ("moved", "total")
    MOVED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    moved: int
    total: int
    def __init__(self, moved: _Optional[int] = ..., total: _Optional[int] = ...) -> None: ...

class ExplainKeyRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class ExplainKeyResponse(_message.Message):
    __slots__ = ("epoch", "location", "why")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    location: _processing_pb2.Location
    why: str
    def __init__(self, epoch: _Optional[int] = ..., location: _Optional[_Union[_processing_pb2.Location, _Mapping]] = ..., why: _Optional[str] = ...) -> None: ...

class GetLedgerRequest(_message.Message):
    __slots__ = ("partitions",)
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, partitions: _Optional[_Iterable[int]] = ...) -> None: ...

class GetLedgerResponse(_message.Message):
    __slots__ = ("rows",)
    ROWS_FIELD_NUMBER: _ClassVar[int]
    rows: _containers.RepeatedCompositeFieldContainer[LedgerRow]
    def __init__(self, rows: _Optional[_Iterable[_Union[LedgerRow, _Mapping]]] = ...) -> None: ...

class LedgerRow(_message.Message):
    __slots__ = ("partition", "received", "applied", "duplicate", "rejected")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATE_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    partition: int
    received: int
    applied: int
    duplicate: int
    rejected: int
    def __init__(self, partition: _Optional[int] = ..., received: _Optional[int] = ..., applied: _Optional[int] = ..., duplicate: _Optional[int] = ..., rejected: _Optional[int] = ...) -> None: ...
