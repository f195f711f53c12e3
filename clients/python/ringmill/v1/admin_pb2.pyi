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
    __slots__ = ("epoch", "workers", "copies_wanted", "partitions_short", "partitions_refused", "partitions", "cluster")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    COPIES_WANTED_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_SHORT_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_REFUSED_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    workers: _containers.RepeatedCompositeFieldContainer[Worker]
    copies_wanted: int
    partitions_short: int
    partitions_refused: int
    partitions: int
    cluster: str
    def __init__(self, epoch: _Optional[int] = ..., workers: _Optional[_Iterable[_Union[Worker, _Mapping]]] = ..., copies_wanted: _Optional[int] = ..., partitions_short: _Optional[int] = ..., partitions_refused: _Optional[int] = ..., partitions: _Optional[int] = ..., cluster: _Optional[str] = ...) -> None: ...

class Worker(_message.Message):
    __slots__ = ("name", "state", "partitions", "copies", "learning", "keys", "state_bytes", "host", "zone")
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    LEARNING_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: str
    partitions: int
    copies: int
    learning: int
    keys: int
    state_bytes: int
    host: str
    zone: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[str] = ..., partitions: _Optional[int] = ..., copies: _Optional[int] = ..., learning: _Optional[int] = ..., keys: _Optional[int] = ..., state_bytes: _Optional[int] = ..., host: _Optional[str] = ..., zone: _Optional[str] = ...) -> None: ...

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
    __slots__ = ("moved", "total", "text", "copied", "copies", "pause_us")
    MOVED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    COPIED_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    PAUSE_US_FIELD_NUMBER: _ClassVar[int]
    moved: int
    total: int
    text: str
    copied: int
    copies: int
    pause_us: int
    def __init__(self, moved: _Optional[int] = ..., total: _Optional[int] = ..., text: _Optional[str] = ..., copied: _Optional[int] = ..., copies: _Optional[int] = ..., pause_us: _Optional[int] = ...) -> None: ...

class ExplainKeyRequest(_message.Message):
    __slots__ = ("key",)
    KEY_FIELD_NUMBER: _ClassVar[int]
    key: str
    def __init__(self, key: _Optional[str] = ...) -> None: ...

class ExplainKeyResponse(_message.Message):
    __slots__ = ("epoch", "location", "why", "partition_epoch")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    WHY_FIELD_NUMBER: _ClassVar[int]
    PARTITION_EPOCH_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    location: _processing_pb2.Location
    why: str
    partition_epoch: int
    def __init__(self, epoch: _Optional[int] = ..., location: _Optional[_Union[_processing_pb2.Location, _Mapping]] = ..., why: _Optional[str] = ..., partition_epoch: _Optional[int] = ...) -> None: ...

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
