from ringmill.internal.v1 import link_pb2 as _link_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class State(_message.Message):
    __slots__ = ("revision", "generation", "view", "intention", "serves", "platform", "cluster")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    INTENTION_FIELD_NUMBER: _ClassVar[int]
    SERVES_FIELD_NUMBER: _ClassVar[int]
    PLATFORM_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    revision: int
    generation: int
    view: _link_pb2.View
    intention: Intention
    serves: str
    platform: str
    cluster: str
    def __init__(self, revision: _Optional[int] = ..., generation: _Optional[int] = ..., view: _Optional[_Union[_link_pb2.View, _Mapping]] = ..., intention: _Optional[_Union[Intention, _Mapping]] = ..., serves: _Optional[str] = ..., platform: _Optional[str] = ..., cluster: _Optional[str] = ...) -> None: ...

class Intention(_message.Message):
    __slots__ = ("wanted", "leaving", "restarting", "restarted", "gone")
    WANTED_FIELD_NUMBER: _ClassVar[int]
    LEAVING_FIELD_NUMBER: _ClassVar[int]
    RESTARTING_FIELD_NUMBER: _ClassVar[int]
    RESTARTED_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    wanted: _containers.RepeatedScalarFieldContainer[str]
    leaving: _containers.RepeatedCompositeFieldContainer[Leaver]
    restarting: _containers.RepeatedScalarFieldContainer[str]
    restarted: int
    gone: _containers.RepeatedCompositeFieldContainer[Leaver]
    def __init__(self, wanted: _Optional[_Iterable[str]] = ..., leaving: _Optional[_Iterable[_Union[Leaver, _Mapping]]] = ..., restarting: _Optional[_Iterable[str]] = ..., restarted: _Optional[int] = ..., gone: _Optional[_Iterable[_Union[Leaver, _Mapping]]] = ...) -> None: ...

class Leaver(_message.Message):
    __slots__ = ("name", "incarnation")
    NAME_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    incarnation: int
    def __init__(self, name: _Optional[str] = ..., incarnation: _Optional[int] = ...) -> None: ...
