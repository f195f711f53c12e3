from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class AckLevel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ACK_LEVEL_UNSPECIFIED: _ClassVar[AckLevel]
    ACK_LEVEL_PRIMARY: _ClassVar[AckLevel]
    ACK_LEVEL_ALL: _ClassVar[AckLevel]

class RejectionReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    REJECTION_REASON_UNSPECIFIED: _ClassVar[RejectionReason]
    REJECTION_REASON_KEY_INVALID: _ClassVar[RejectionReason]
    REJECTION_REASON_VALUES_INVALID: _ClassVar[RejectionReason]
    REJECTION_REASON_LABELS_INVALID: _ClassVar[RejectionReason]
    REJECTION_REASON_INTEGERS_INVALID: _ClassVar[RejectionReason]
    REJECTION_REASON_TIME_INVALID: _ClassVar[RejectionReason]
    REJECTION_REASON_LATE: _ClassVar[RejectionReason]
    REJECTION_REASON_PERMISSION_DENIED: _ClassVar[RejectionReason]
    REJECTION_REASON_OPERATOR_FAILED: _ClassVar[RejectionReason]
    REJECTION_REASON_ALREADY_APPLIED: _ClassVar[RejectionReason]
    REJECTION_REASON_OUT_OF_ORDER: _ClassVar[RejectionReason]
    REJECTION_REASON_OVERLOADED: _ClassVar[RejectionReason]
    REJECTION_REASON_UNAVAILABLE: _ClassVar[RejectionReason]
    REJECTION_REASON_DEADLINE: _ClassVar[RejectionReason]

class FieldKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FIELD_KIND_UNSPECIFIED: _ClassVar[FieldKind]
    FIELD_KIND_DOUBLE: _ClassVar[FieldKind]
    FIELD_KIND_INTEGER: _ClassVar[FieldKind]
    FIELD_KIND_BOOL: _ClassVar[FieldKind]
    FIELD_KIND_LABEL: _ClassVar[FieldKind]
ACK_LEVEL_UNSPECIFIED: AckLevel
ACK_LEVEL_PRIMARY: AckLevel
ACK_LEVEL_ALL: AckLevel
REJECTION_REASON_UNSPECIFIED: RejectionReason
REJECTION_REASON_KEY_INVALID: RejectionReason
REJECTION_REASON_VALUES_INVALID: RejectionReason
REJECTION_REASON_LABELS_INVALID: RejectionReason
REJECTION_REASON_INTEGERS_INVALID: RejectionReason
REJECTION_REASON_TIME_INVALID: RejectionReason
REJECTION_REASON_LATE: RejectionReason
REJECTION_REASON_PERMISSION_DENIED: RejectionReason
REJECTION_REASON_OPERATOR_FAILED: RejectionReason
REJECTION_REASON_ALREADY_APPLIED: RejectionReason
REJECTION_REASON_OUT_OF_ORDER: RejectionReason
REJECTION_REASON_OVERLOADED: RejectionReason
REJECTION_REASON_UNAVAILABLE: RejectionReason
REJECTION_REASON_DEADLINE: RejectionReason
FIELD_KIND_UNSPECIFIED: FieldKind
FIELD_KIND_DOUBLE: FieldKind
FIELD_KIND_INTEGER: FieldKind
FIELD_KIND_BOOL: FieldKind
FIELD_KIND_LABEL: FieldKind

class ProcessRequest(_message.Message):
    __slots__ = ("pipeline", "producer", "sequence", "events", "options", "ack", "timeout_ms", "traceparent", "watermark_us", "acknowledged")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_US_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    producer: str
    sequence: int
    events: _containers.RepeatedCompositeFieldContainer[Event]
    options: ProcessOptions
    ack: AckLevel
    timeout_ms: int
    traceparent: str
    watermark_us: int
    acknowledged: int
    def __init__(self, pipeline: _Optional[str] = ..., producer: _Optional[str] = ..., sequence: _Optional[int] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., options: _Optional[_Union[ProcessOptions, _Mapping]] = ..., ack: _Optional[_Union[AckLevel, str]] = ..., timeout_ms: _Optional[int] = ..., traceparent: _Optional[str] = ..., watermark_us: _Optional[int] = ..., acknowledged: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("key", "time_us", "values", "labels", "integers")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    INTEGERS_FIELD_NUMBER: _ClassVar[int]
    key: str
    time_us: int
    values: _containers.RepeatedScalarFieldContainer[float]
    labels: _containers.RepeatedScalarFieldContainer[str]
    integers: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, key: _Optional[str] = ..., time_us: _Optional[int] = ..., values: _Optional[_Iterable[float]] = ..., labels: _Optional[_Iterable[str]] = ..., integers: _Optional[_Iterable[int]] = ...) -> None: ...

class ProcessOptions(_message.Message):
    __slots__ = ("routing_key", "session", "version", "ack", "emissions")
    ROUTING_KEY_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    EMISSIONS_FIELD_NUMBER: _ClassVar[int]
    routing_key: str
    session: int
    version: str
    ack: AckLevel
    emissions: bool
    def __init__(self, routing_key: _Optional[str] = ..., session: _Optional[int] = ..., version: _Optional[str] = ..., ack: _Optional[_Union[AckLevel, str]] = ..., emissions: _Optional[bool] = ...) -> None: ...

class ProcessResponse(_message.Message):
    __slots__ = ("sequence", "outcomes", "receipt", "rejected", "stream", "committed_through")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_THROUGH_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    receipt: Receipt
    rejected: int
    stream: StreamInfo
    committed_through: int
    def __init__(self, sequence: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ..., rejected: _Optional[int] = ..., stream: _Optional[_Union[StreamInfo, _Mapping]] = ..., committed_through: _Optional[int] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("values", "rejection", "integers", "labels", "emissions")
    VALUES_FIELD_NUMBER: _ClassVar[int]
    REJECTION_FIELD_NUMBER: _ClassVar[int]
    INTEGERS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    EMISSIONS_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedScalarFieldContainer[float]
    rejection: Rejection
    integers: _containers.RepeatedScalarFieldContainer[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    emissions: _containers.RepeatedCompositeFieldContainer[Emission]
    def __init__(self, values: _Optional[_Iterable[float]] = ..., rejection: _Optional[_Union[Rejection, _Mapping]] = ..., integers: _Optional[_Iterable[int]] = ..., labels: _Optional[_Iterable[str]] = ..., emissions: _Optional[_Iterable[_Union[Emission, _Mapping]]] = ...) -> None: ...

class Rejection(_message.Message):
    __slots__ = ("reason", "detail", "retry_after_ms")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    reason: RejectionReason
    detail: str
    retry_after_ms: int
    def __init__(self, reason: _Optional[_Union[RejectionReason, str]] = ..., detail: _Optional[str] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Receipt(_message.Message):
    __slots__ = ("epoch", "ack", "copies", "route_us", "queue_us", "kernel_us", "replicate_us", "replayed", "forwarded")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    COPIES_FIELD_NUMBER: _ClassVar[int]
    ROUTE_US_FIELD_NUMBER: _ClassVar[int]
    QUEUE_US_FIELD_NUMBER: _ClassVar[int]
    KERNEL_US_FIELD_NUMBER: _ClassVar[int]
    REPLICATE_US_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    ack: AckLevel
    copies: int
    route_us: int
    queue_us: int
    kernel_us: int
    replicate_us: int
    replayed: bool
    forwarded: int
    def __init__(self, epoch: _Optional[int] = ..., ack: _Optional[_Union[AckLevel, str]] = ..., copies: _Optional[int] = ..., route_us: _Optional[int] = ..., queue_us: _Optional[int] = ..., kernel_us: _Optional[int] = ..., replicate_us: _Optional[int] = ..., replayed: _Optional[bool] = ..., forwarded: _Optional[int] = ...) -> None: ...

class StreamInfo(_message.Message):
    __slots__ = ("version", "deduplicates", "session", "last_sequence", "max_in_flight", "max_events", "max_request_bytes", "drain_ms")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DEDUPLICATES_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    MAX_IN_FLIGHT_FIELD_NUMBER: _ClassVar[int]
    MAX_EVENTS_FIELD_NUMBER: _ClassVar[int]
    MAX_REQUEST_BYTES_FIELD_NUMBER: _ClassVar[int]
    DRAIN_MS_FIELD_NUMBER: _ClassVar[int]
    version: str
    deduplicates: bool
    session: int
    last_sequence: int
    max_in_flight: int
    max_events: int
    max_request_bytes: int
    drain_ms: int
    def __init__(self, version: _Optional[str] = ..., deduplicates: _Optional[bool] = ..., session: _Optional[int] = ..., last_sequence: _Optional[int] = ..., max_in_flight: _Optional[int] = ..., max_events: _Optional[int] = ..., max_request_bytes: _Optional[int] = ..., drain_ms: _Optional[int] = ...) -> None: ...

class Emission(_message.Message):
    __slots__ = ("key", "time_us", "values", "labels", "integers", "emitter", "start_us", "revision", "partition", "index")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    INTEGERS_FIELD_NUMBER: _ClassVar[int]
    EMITTER_FIELD_NUMBER: _ClassVar[int]
    START_US_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    key: str
    time_us: int
    values: _containers.RepeatedScalarFieldContainer[float]
    labels: _containers.RepeatedScalarFieldContainer[str]
    integers: _containers.RepeatedScalarFieldContainer[int]
    emitter: int
    start_us: int
    revision: int
    partition: int
    index: int
    def __init__(self, key: _Optional[str] = ..., time_us: _Optional[int] = ..., values: _Optional[_Iterable[float]] = ..., labels: _Optional[_Iterable[str]] = ..., integers: _Optional[_Iterable[int]] = ..., emitter: _Optional[int] = ..., start_us: _Optional[int] = ..., revision: _Optional[int] = ..., partition: _Optional[int] = ..., index: _Optional[int] = ...) -> None: ...

class ProcessBatchRequest(_message.Message):
    __slots__ = ("pipeline", "producer", "sequence", "events", "options", "ack", "timeout_ms", "traceparent", "watermark_us", "acknowledged")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    TIMEOUT_MS_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_US_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    producer: str
    sequence: int
    events: _containers.RepeatedCompositeFieldContainer[Event]
    options: ProcessOptions
    ack: AckLevel
    timeout_ms: int
    traceparent: str
    watermark_us: int
    acknowledged: int
    def __init__(self, pipeline: _Optional[str] = ..., producer: _Optional[str] = ..., sequence: _Optional[int] = ..., events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., options: _Optional[_Union[ProcessOptions, _Mapping]] = ..., ack: _Optional[_Union[AckLevel, str]] = ..., timeout_ms: _Optional[int] = ..., traceparent: _Optional[str] = ..., watermark_us: _Optional[int] = ..., acknowledged: _Optional[int] = ...) -> None: ...

class ProcessBatchResponse(_message.Message):
    __slots__ = ("sequence", "outcomes", "receipt", "rejected", "stream", "committed_through")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    STREAM_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_THROUGH_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    receipt: Receipt
    rejected: int
    stream: StreamInfo
    committed_through: int
    def __init__(self, sequence: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ..., receipt: _Optional[_Union[Receipt, _Mapping]] = ..., rejected: _Optional[int] = ..., stream: _Optional[_Union[StreamInfo, _Mapping]] = ..., committed_through: _Optional[int] = ...) -> None: ...

class DescribePipelineRequest(_message.Message):
    __slots__ = ("pipeline",)
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    def __init__(self, pipeline: _Optional[str] = ...) -> None: ...

class DescribePipelineResponse(_message.Message):
    __slots__ = ("version", "digest", "fields", "outputs", "emitters", "state", "uses_time")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    EMITTERS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    USES_TIME_FIELD_NUMBER: _ClassVar[int]
    version: str
    digest: str
    fields: _containers.RepeatedCompositeFieldContainer[Field]
    outputs: _containers.RepeatedCompositeFieldContainer[Field]
    emitters: _containers.RepeatedCompositeFieldContainer[Emitter]
    state: _containers.RepeatedCompositeFieldContainer[Field]
    uses_time: bool
    def __init__(self, version: _Optional[str] = ..., digest: _Optional[str] = ..., fields: _Optional[_Iterable[_Union[Field, _Mapping]]] = ..., outputs: _Optional[_Iterable[_Union[Field, _Mapping]]] = ..., emitters: _Optional[_Iterable[_Union[Emitter, _Mapping]]] = ..., state: _Optional[_Iterable[_Union[Field, _Mapping]]] = ..., uses_time: _Optional[bool] = ...) -> None: ...

class Field(_message.Message):
    __slots__ = ("name", "kind", "nullable", "has_default", "unit", "decimals")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    NULLABLE_FIELD_NUMBER: _ClassVar[int]
    HAS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    DECIMALS_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: FieldKind
    nullable: bool
    has_default: bool
    unit: str
    decimals: int
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[_Union[FieldKind, str]] = ..., nullable: _Optional[bool] = ..., has_default: _Optional[bool] = ..., unit: _Optional[str] = ..., decimals: _Optional[int] = ...) -> None: ...

class Emitter(_message.Message):
    __slots__ = ("name", "outputs")
    NAME_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    outputs: _containers.RepeatedCompositeFieldContainer[Field]
    def __init__(self, name: _Optional[str] = ..., outputs: _Optional[_Iterable[_Union[Field, _Mapping]]] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("pipeline", "keys", "allow_stale")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    ALLOW_STALE_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    keys: _containers.RepeatedScalarFieldContainer[str]
    allow_stale: bool
    def __init__(self, pipeline: _Optional[str] = ..., keys: _Optional[_Iterable[str]] = ..., allow_stale: _Optional[bool] = ...) -> None: ...

class QueryResponse(_message.Message):
    __slots__ = ("states",)
    STATES_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedCompositeFieldContainer[KeyState]
    def __init__(self, states: _Optional[_Iterable[_Union[KeyState, _Mapping]]] = ...) -> None: ...

class KeyState(_message.Message):
    __slots__ = ("key", "time_us", "values", "labels", "integers", "found", "rejection", "lag_us")
    KEY_FIELD_NUMBER: _ClassVar[int]
    TIME_US_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    INTEGERS_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    REJECTION_FIELD_NUMBER: _ClassVar[int]
    LAG_US_FIELD_NUMBER: _ClassVar[int]
    key: str
    time_us: int
    values: _containers.RepeatedScalarFieldContainer[float]
    labels: _containers.RepeatedScalarFieldContainer[str]
    integers: _containers.RepeatedScalarFieldContainer[int]
    found: bool
    rejection: Rejection
    lag_us: int
    def __init__(self, key: _Optional[str] = ..., time_us: _Optional[int] = ..., values: _Optional[_Iterable[float]] = ..., labels: _Optional[_Iterable[str]] = ..., integers: _Optional[_Iterable[int]] = ..., found: _Optional[bool] = ..., rejection: _Optional[_Union[Rejection, _Mapping]] = ..., lag_us: _Optional[int] = ...) -> None: ...

class ListKeysRequest(_message.Message):
    __slots__ = ("pipeline", "prefix", "page_size", "page_token")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    prefix: str
    page_size: int
    page_token: str
    def __init__(self, pipeline: _Optional[str] = ..., prefix: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListKeysResponse(_message.Message):
    __slots__ = ("keys", "next_page_token")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    next_page_token: str
    def __init__(self, keys: _Optional[_Iterable[str]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SubscribeRequest(_message.Message):
    __slots__ = ("pipeline", "emitters", "key_prefixes", "cursor")
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    EMITTERS_FIELD_NUMBER: _ClassVar[int]
    KEY_PREFIXES_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    pipeline: str
    emitters: _containers.RepeatedScalarFieldContainer[str]
    key_prefixes: _containers.RepeatedScalarFieldContainer[str]
    cursor: bytes
    def __init__(self, pipeline: _Optional[str] = ..., emitters: _Optional[_Iterable[str]] = ..., key_prefixes: _Optional[_Iterable[str]] = ..., cursor: _Optional[bytes] = ...) -> None: ...

class SubscribeResponse(_message.Message):
    __slots__ = ("emissions", "cursor")
    EMISSIONS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    emissions: _containers.RepeatedCompositeFieldContainer[Emission]
    cursor: bytes
    def __init__(self, emissions: _Optional[_Iterable[_Union[Emission, _Mapping]]] = ..., cursor: _Optional[bytes] = ...) -> None: ...

class LocateRequest(_message.Message):
    __slots__ = ("keys",)
    KEYS_FIELD_NUMBER: _ClassVar[int]
    keys: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, keys: _Optional[_Iterable[str]] = ...) -> None: ...

class LocateResponse(_message.Message):
    __slots__ = ("epoch", "locations")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LOCATIONS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    locations: _containers.RepeatedCompositeFieldContainer[Location]
    def __init__(self, epoch: _Optional[int] = ..., locations: _Optional[_Iterable[_Union[Location, _Mapping]]] = ...) -> None: ...

class Location(_message.Message):
    __slots__ = ("partition", "primary", "replicas")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    partition: int
    primary: str
    replicas: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, partition: _Optional[int] = ..., primary: _Optional[str] = ..., replicas: _Optional[_Iterable[str]] = ...) -> None: ...
