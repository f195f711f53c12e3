from ringmill.v1 import admin_pb2 as _admin_pb2
from ringmill.v1 import processing_pb2 as _processing_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JoinRequest(_message.Message):
    __slots__ = ("registration", "results", "heartbeat", "draining", "committed", "opened", "report", "ledger")
    REGISTRATION_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    registration: Registration
    results: _containers.RepeatedCompositeFieldContainer[PartResult]
    heartbeat: Heartbeat
    draining: bool
    committed: _containers.RepeatedScalarFieldContainer[int]
    opened: _containers.RepeatedCompositeFieldContainer[Opened]
    report: Report
    ledger: _containers.RepeatedCompositeFieldContainer[_admin_pb2.LedgerRow]
    def __init__(self, registration: _Optional[_Union[Registration, _Mapping]] = ..., results: _Optional[_Iterable[_Union[PartResult, _Mapping]]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., draining: _Optional[bool] = ..., committed: _Optional[_Iterable[int]] = ..., opened: _Optional[_Iterable[_Union[Opened, _Mapping]]] = ..., report: _Optional[_Union[Report, _Mapping]] = ..., ledger: _Optional[_Iterable[_Union[_admin_pb2.LedgerRow, _Mapping]]] = ...) -> None: ...

class Registration(_message.Message):
    __slots__ = ("name", "incarnation", "weight", "cluster", "pipelines", "pipeline_names", "address", "events_max", "view_version", "peer_address", "host", "zone", "platform")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    PIPELINES_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_NAMES_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    EVENTS_MAX_FIELD_NUMBER: _ClassVar[int]
    VIEW_VERSION_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    name: str
    incarnation: int
    weight: int
    cluster: str
    pipelines: _containers.RepeatedCompositeFieldContainer[_processing_pb2.DescribePipelineResponse]
    pipeline_names: _containers.RepeatedScalarFieldContainer[str]
    address: str
    events_max: _containers.RepeatedScalarFieldContainer[int]
    view_version: int
    peer_address: str
    host: str
    zone: str
    platform: str
    def __init__(self, name: _Optional[str] = ..., incarnation: _Optional[int] = ..., weight: _Optional[int] = ..., cluster: _Optional[str] = ..., pipelines: _Optional[_Iterable[_Union[_processing_pb2.DescribePipelineResponse, _Mapping]]] = ..., pipeline_names: _Optional[_Iterable[str]] = ..., address: _Optional[str] = ..., events_max: _Optional[_Iterable[int]] = ..., view_version: _Optional[int] = ..., peer_address: _Optional[str] = ..., host: _Optional[str] = ..., zone: _Optional[str] = ..., platform: _Optional[str] = ...) -> None: ...

class Report(_message.Message):
    __slots__ = ("caught_up", "sealed", "diverged", "silent")
    CAUGHT_UP_FIELD_NUMBER: _ClassVar[int]
    SEALED_FIELD_NUMBER: _ClassVar[int]
    DIVERGED_FIELD_NUMBER: _ClassVar[int]
    SILENT_FIELD_NUMBER: _ClassVar[int]
    caught_up: _containers.RepeatedCompositeFieldContainer[CaughtUp]
    sealed: _containers.RepeatedCompositeFieldContainer[Sealed]
    diverged: _containers.RepeatedCompositeFieldContainer[Diverged]
    silent: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, caught_up: _Optional[_Iterable[_Union[CaughtUp, _Mapping]]] = ..., sealed: _Optional[_Iterable[_Union[Sealed, _Mapping]]] = ..., diverged: _Optional[_Iterable[_Union[Diverged, _Mapping]]] = ..., silent: _Optional[_Iterable[str]] = ...) -> None: ...

class CaughtUp(_message.Message):
    __slots__ = ("partition", "epoch", "learner", "incarnation", "version")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LEARNER_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    partition: int
    epoch: int
    learner: str
    incarnation: int
    version: int
    def __init__(self, partition: _Optional[int] = ..., epoch: _Optional[int] = ..., learner: _Optional[str] = ..., incarnation: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class Sealed(_message.Message):
    __slots__ = ("partition", "epoch", "heir", "version")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HEIR_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    partition: int
    epoch: int
    heir: str
    version: int
    def __init__(self, partition: _Optional[int] = ..., epoch: _Optional[int] = ..., heir: _Optional[str] = ..., version: _Optional[int] = ...) -> None: ...

class Diverged(_message.Message):
    __slots__ = ("partition", "epoch", "replica", "incarnation", "version")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    partition: int
    epoch: int
    replica: str
    incarnation: int
    version: int
    def __init__(self, partition: _Optional[int] = ..., epoch: _Optional[int] = ..., replica: _Optional[str] = ..., incarnation: _Optional[int] = ..., version: _Optional[int] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("keys", "state_bytes", "events", "view_version", "audited", "differed", "healed", "uncommitted")
    KEYS_FIELD_NUMBER: _ClassVar[int]
    STATE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    VIEW_VERSION_FIELD_NUMBER: _ClassVar[int]
    AUDITED_FIELD_NUMBER: _ClassVar[int]
    DIFFERED_FIELD_NUMBER: _ClassVar[int]
    HEALED_FIELD_NUMBER: _ClassVar[int]
    UNCOMMITTED_FIELD_NUMBER: _ClassVar[int]
    keys: int
    state_bytes: int
    events: int
    view_version: int
    audited: int
    differed: int
    healed: int
    uncommitted: int
    def __init__(self, keys: _Optional[int] = ..., state_bytes: _Optional[int] = ..., events: _Optional[int] = ..., view_version: _Optional[int] = ..., audited: _Optional[int] = ..., differed: _Optional[int] = ..., healed: _Optional[int] = ..., uncommitted: _Optional[int] = ...) -> None: ...

class JoinResponse(_message.Message):
    __slots__ = ("view", "parts", "heartbeat_ms", "opens", "ledger")
    VIEW_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_MS_FIELD_NUMBER: _ClassVar[int]
    OPENS_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    view: View
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    heartbeat_ms: int
    opens: _containers.RepeatedCompositeFieldContainer[Open]
    ledger: bool
    def __init__(self, view: _Optional[_Union[View, _Mapping]] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., heartbeat_ms: _Optional[int] = ..., opens: _Optional[_Iterable[_Union[Open, _Mapping]]] = ..., ledger: _Optional[bool] = ...) -> None: ...

class Open(_message.Message):
    __slots__ = ("id", "producer", "session", "fence", "floor", "forget", "unforgotten")
    ID_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    FORGET_FIELD_NUMBER: _ClassVar[int]
    UNFORGOTTEN_FIELD_NUMBER: _ClassVar[int]
    id: int
    producer: int
    session: int
    fence: int
    floor: int
    forget: _containers.RepeatedScalarFieldContainer[int]
    unforgotten: bool
    def __init__(self, id: _Optional[int] = ..., producer: _Optional[int] = ..., session: _Optional[int] = ..., fence: _Optional[int] = ..., floor: _Optional[int] = ..., forget: _Optional[_Iterable[int]] = ..., unforgotten: _Optional[bool] = ...) -> None: ...

class Opened(_message.Message):
    __slots__ = ("id", "code", "session", "last_sequence")
    ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    LAST_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    id: int
    code: int
    session: int
    last_sequence: int
    def __init__(self, id: _Optional[int] = ..., code: _Optional[int] = ..., session: _Optional[int] = ..., last_sequence: _Optional[int] = ...) -> None: ...

class View(_message.Message):
    __slots__ = ("version", "members", "partitions", "cluster", "owners", "epochs", "replicas", "width", "learners", "heirs", "min_in_sync")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    OWNERS_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    LEARNERS_FIELD_NUMBER: _ClassVar[int]
    HEIRS_FIELD_NUMBER: _ClassVar[int]
    MIN_IN_SYNC_FIELD_NUMBER: _ClassVar[int]
    version: int
    members: _containers.RepeatedCompositeFieldContainer[Member]
    partitions: int
    cluster: str
    owners: _containers.RepeatedScalarFieldContainer[int]
    epochs: _containers.RepeatedScalarFieldContainer[int]
    replicas: _containers.RepeatedScalarFieldContainer[int]
    width: int
    learners: _containers.RepeatedScalarFieldContainer[int]
    heirs: _containers.RepeatedScalarFieldContainer[int]
    min_in_sync: int
    def __init__(self, version: _Optional[int] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., partitions: _Optional[int] = ..., cluster: _Optional[str] = ..., owners: _Optional[_Iterable[int]] = ..., epochs: _Optional[_Iterable[int]] = ..., replicas: _Optional[_Iterable[int]] = ..., width: _Optional[int] = ..., learners: _Optional[_Iterable[int]] = ..., heirs: _Optional[_Iterable[int]] = ..., min_in_sync: _Optional[int] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("name", "incarnation", "weight", "alive", "address", "peer_address", "host", "zone", "draining")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    ALIVE_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PEER_ADDRESS_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    ZONE_FIELD_NUMBER: _ClassVar[int]
    DRAINING_FIELD_NUMBER: _ClassVar[int]
    name: str
    incarnation: int
    weight: int
    alive: bool
    address: str
    peer_address: str
    host: str
    zone: str
    draining: bool
    def __init__(self, name: _Optional[str] = ..., incarnation: _Optional[int] = ..., weight: _Optional[int] = ..., alive: _Optional[bool] = ..., address: _Optional[str] = ..., peer_address: _Optional[str] = ..., host: _Optional[str] = ..., zone: _Optional[str] = ..., draining: _Optional[bool] = ...) -> None: ...

class Part(_message.Message):
    __slots__ = ("id", "pipeline", "request", "producer", "fence", "sequence", "acknowledged", "previous", "flags", "version", "check")
    ID_FIELD_NUMBER: _ClassVar[int]
    PIPELINE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    PRODUCER_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CHECK_FIELD_NUMBER: _ClassVar[int]
    id: int
    pipeline: int
    request: bytes
    producer: int
    fence: int
    sequence: int
    acknowledged: int
    previous: bytes
    flags: int
    version: int
    check: int
    def __init__(self, id: _Optional[int] = ..., pipeline: _Optional[int] = ..., request: _Optional[bytes] = ..., producer: _Optional[int] = ..., fence: _Optional[int] = ..., sequence: _Optional[int] = ..., acknowledged: _Optional[int] = ..., previous: _Optional[bytes] = ..., flags: _Optional[int] = ..., version: _Optional[int] = ..., check: _Optional[int] = ...) -> None: ...

class PartResult(_message.Message):
    __slots__ = ("id", "response", "code", "detail", "again", "version", "provisional")
    ID_FIELD_NUMBER: _ClassVar[int]
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    AGAIN_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PROVISIONAL_FIELD_NUMBER: _ClassVar[int]
    id: int
    response: bytes
    code: int
    detail: str
    again: bool
    version: int
    provisional: bool
    def __init__(self, id: _Optional[int] = ..., response: _Optional[bytes] = ..., code: _Optional[int] = ..., detail: _Optional[str] = ..., again: _Optional[bool] = ..., version: _Optional[int] = ..., provisional: _Optional[bool] = ...) -> None: ...

class ReplicateRequest(_message.Message):
    __slots__ = ("hello", "views", "parts", "entries")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    VIEWS_FIELD_NUMBER: _ClassVar[int]
    PARTS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    hello: Hello
    views: _containers.RepeatedCompositeFieldContainer[View]
    parts: _containers.RepeatedCompositeFieldContainer[Part]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    def __init__(self, hello: _Optional[_Union[Hello, _Mapping]] = ..., views: _Optional[_Iterable[_Union[View, _Mapping]]] = ..., parts: _Optional[_Iterable[_Union[Part, _Mapping]]] = ..., entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ...) -> None: ...

class Hello(_message.Message):
    __slots__ = ("cluster", "name", "incarnation", "replica_incarnation", "channel", "acknowledged")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    REPLICA_INCARNATION_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    name: str
    incarnation: int
    replica_incarnation: int
    channel: int
    acknowledged: int
    def __init__(self, cluster: _Optional[str] = ..., name: _Optional[str] = ..., incarnation: _Optional[int] = ..., replica_incarnation: _Optional[int] = ..., channel: _Optional[int] = ..., acknowledged: _Optional[int] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("id", "version", "open", "snapshot", "audit")
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    AUDIT_FIELD_NUMBER: _ClassVar[int]
    id: int
    version: int
    open: Open
    snapshot: Snapshot
    audit: Audit
    def __init__(self, id: _Optional[int] = ..., version: _Optional[int] = ..., open: _Optional[_Union[Open, _Mapping]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ..., audit: _Optional[_Union[Audit, _Mapping]] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("partition", "index", "digest", "offer", "ledger", "tables", "labels")
    PARTITION_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFER_FIELD_NUMBER: _ClassVar[int]
    LEDGER_FIELD_NUMBER: _ClassVar[int]
    TABLES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    partition: int
    index: int
    digest: int
    offer: bool
    ledger: bytes
    tables: _containers.RepeatedScalarFieldContainer[bytes]
    labels: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, partition: _Optional[int] = ..., index: _Optional[int] = ..., digest: _Optional[int] = ..., offer: _Optional[bool] = ..., ledger: _Optional[bytes] = ..., tables: _Optional[_Iterable[bytes]] = ..., labels: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Audit(_message.Message):
    __slots__ = ("partitions", "indexes", "digests", "state", "succession")
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SUCCESSION_FIELD_NUMBER: _ClassVar[int]
    partitions: _containers.RepeatedScalarFieldContainer[int]
    indexes: _containers.RepeatedScalarFieldContainer[int]
    digests: _containers.RepeatedScalarFieldContainer[int]
    state: int
    succession: bool
    def __init__(self, partitions: _Optional[_Iterable[int]] = ..., indexes: _Optional[_Iterable[int]] = ..., digests: _Optional[_Iterable[int]] = ..., state: _Optional[int] = ..., succession: _Optional[bool] = ...) -> None: ...

class ReplicateResponse(_message.Message):
    __slots__ = ("welcome", "acknowledged", "outcomes", "refused", "verdicts")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    welcome: Welcome
    acknowledged: int
    outcomes: int
    refused: _containers.RepeatedCompositeFieldContainer[Refused]
    verdicts: _containers.RepeatedCompositeFieldContainer[Verdict]
    def __init__(self, welcome: _Optional[_Union[Welcome, _Mapping]] = ..., acknowledged: _Optional[int] = ..., outcomes: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[Refused, _Mapping]]] = ..., verdicts: _Optional[_Iterable[_Union[Verdict, _Mapping]]] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("acknowledged",)
    ACKNOWLEDGED_FIELD_NUMBER: _ClassVar[int]
    acknowledged: int
    def __init__(self, acknowledged: _Optional[int] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("id", "version", "partitions")
    ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    PARTITIONS_FIELD_NUMBER: _ClassVar[int]
    id: int
    version: int
    partitions: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, id: _Optional[int] = ..., version: _Optional[int] = ..., partitions: _Optional[_Iterable[int]] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("id", "missing")
    ID_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    id: int
    missing: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, id: _Optional[int] = ..., missing: _Optional[_Iterable[int]] = ...) -> None: ...
