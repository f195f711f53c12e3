"""What one Process stream has agreed on, and the checks of each message's head against it.

The balancer and a worker that is called directly hold the same agreement with a client, so the rules stand here once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError

from ringmill.core.errors import Code, RingmillError
from ringmill.v1.processing_pb2 import (
    AckLevel,
    DescribePipelineResponse,
    ProcessOptions,
    ProcessRequest,
    ProcessResponse,
)

Metadata = Sequence[tuple[str, str | bytes]]
"""What a call brings beside its messages."""

TWIN_PREFIX = "ringmill-"

QUOTED_MAX = 200
"""Characters of a client's own text in a status: a longer one would not fit the trailers, and the code be lost."""


@dataclass(frozen=True, slots=True)
class Served:
    """A pipeline as a server offers it."""

    name: str
    index: int
    """Place in the catalogue; Part.pipeline on a link."""
    description: DescribePipelineResponse
    events_max: int
    """Events a request may hold, so that a response stays under the message limit."""


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Bounds of every Process stream."""

    requests_in_flight_max: int = 64
    bytes_in_flight_max: int = 16 << 20
    """Unanswered request bytes before a stream is no longer read."""
    request_bytes_max: int = 4 << 20


class Agreement:
    """The fixed points of one stream: pipeline, producer and options come with its first message."""

    __slots__ = ("_limits", "_metadata", "_options", "_producer", "_served", "_told")

    def __init__(self, limits: StreamLimits, metadata: Metadata = ()) -> None:
        self._limits = limits
        self._metadata = metadata
        self._served: Served | None = None
        self._producer = ""
        self._options = _NO_OPTIONS
        self._told = False

    @property
    def served(self) -> Served | None:
        """The pipeline agreed on; None before the first message."""
        return self._served

    @property
    def producer(self) -> str:
        """Name of the producer; empty: none."""
        return self._producer

    @property
    def session(self) -> int:
        """Session of the producer that is to be resumed; 0: a new one."""
        return self._options.session

    @property
    def ack(self) -> int:
        """Level of acknowledgement of batches that ask for none."""
        return self._options.ack

    @property
    def emissions(self) -> bool:
        """Whether outcomes are to hold what their events made windows emit."""
        return self._options.emissions

    @property
    def told(self) -> bool:
        """Whether the stream has been described."""
        return self._told

    def accept(self, head: ProcessRequest, count: int, catalogue: Mapping[str, Served]) -> Served:
        """Checks the head of a message that holds `count` events. Raises what must end the stream."""
        served = self._served
        if served is None:
            served = self._open(head, catalogue)
        elif head.pipeline and head.pipeline != served.name:
            raise RingmillError(Code.INVALID_ARGUMENT, f"a stream serves one pipeline: {served.name!r}")
        if head.producer != self._producer and head.producer:
            raise RingmillError(Code.INVALID_ARGUMENT, "a stream has one producer, named in its first message")
        if head.ack not in _ACK_LEVELS:
            raise RingmillError(Code.INVALID_ARGUMENT, f"ack {head.ack} is no AckLevel")
        if count > served.events_max:
            raise RingmillError(
                Code.RESOURCE_EXHAUSTED, f"{count} events in one request; max_events is {served.events_max}"
            )
        return served

    def first_response_fields(self, session: int = 0, last_sequence: int = 0) -> bytes:
        """Encoded `ProcessResponse.stream` to append to the stream's first response; empty afterwards.

        session: what the producer's stream was opened in, so that retries are applied once; 0: they are not.
        last_sequence: the highest that was applied of the producer.
        """
        if self._told or self._served is None:
            return b""
        self._told = True
        return stream_info(self._served, self._limits, session, last_sequence)

    def _open(self, head: ProcessRequest, catalogue: Mapping[str, Served]) -> Served:
        self._served = served = find(head.pipeline, catalogue)
        self._producer = head.producer
        options = options_of(self._metadata)
        options.MergeFrom(head.options)
        if options.ack not in _ACK_LEVELS:
            raise RingmillError(Code.INVALID_ARGUMENT, f"options.ack {options.ack} is no AckLevel")
        if options.version and not version_matches(options.version, served.description.version):
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"{served.name} is served as version {served.description.version}, not {options.version:.{QUOTED_MAX}}",
            )
        if options.session and not head.producer:
            raise RingmillError(Code.INVALID_ARGUMENT, "options.session is a producer's: name the producer")
        self._options = options
        return served


_NO_OPTIONS = ProcessOptions()
_ACK_LEVELS = frozenset(AckLevel.values())


def options_of(metadata: Metadata) -> ProcessOptions:
    """The options that a call's metadata sets: "ringmill-version" and so on, one twin for each field of the message.

    A message's own options win. An ack is "ALL" or "PRIMARY"; a bool "true" or "false".
    Raises INVALID_ARGUMENT, naming the key, for a value that the field cannot hold.
    """
    options = ProcessOptions()
    for name, value in metadata:
        if not name.startswith(TWIN_PREFIX):
            continue
        field = name.removeprefix(TWIN_PREFIX).replace("-", "_")
        if field not in ProcessOptions.DESCRIPTOR.fields_by_name:
            continue
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        try:
            setattr(options, field, _TWINS.get(field, str)(text))
        except (KeyError, ValueError):
            raise RingmillError(
                Code.INVALID_ARGUMENT, f"metadata {name}: {text!r:.{QUOTED_MAX}} is no value for it"
            ) from None
    return options


def first_of(metadata: Metadata, name: str) -> str:
    """The first value under a key of a call's metadata; empty if there is none."""
    value = next((value for key, value in metadata if key == name), "")
    return value if isinstance(value, str) else value.decode("utf-8", "replace")


def _ack(text: str) -> int:
    return AckLevel.Value(f"ACK_LEVEL_{text.upper().removeprefix('ACK_LEVEL_')}")


def _truth(text: str) -> bool:
    return {"true": True, "false": False}[text.lower()]


_TWINS: dict[str, Callable[[str], Any]] = {"ack": _ack, "session": int, "emissions": _truth}


def find(name: str, catalogue: Mapping[str, Served]) -> Served:
    """The pipeline of this name. NOT_FOUND, with the names there are; INVALID_ARGUMENT for no name."""
    if not name:
        raise RingmillError(Code.INVALID_ARGUMENT, "the first message of a stream must name its pipeline")
    served = catalogue.get(name)
    if served is None:
        names = ", ".join(sorted(catalogue)) or "none"
        raise RingmillError(Code.NOT_FOUND, f"no pipeline {name!r:.{QUOTED_MAX}} is served; there is: {names}")
    return served


def version_matches(asked: str, served: str) -> bool:
    """Whether "2" or "2.1" or "2.1.0" asks for what "2.1.0" is: equal in as many numbers as were asked for."""
    return served.split(".")[: len(asked.split("."))] == asked.split(".")


def stream_info(served: Served, limits: StreamLimits, session: int = 0, last_sequence: int = 0) -> bytes:
    """Encoded ProcessResponse that holds nothing but StreamInfo: appending it to a response sets its `stream`."""
    response = ProcessResponse()
    info = response.stream
    info.version = served.description.version
    info.max_in_flight = limits.requests_in_flight_max
    info.max_events = served.events_max
    info.max_request_bytes = limits.request_bytes_max
    info.session = session
    info.last_sequence = last_sequence
    info.deduplicates = session > 0
    return response.SerializeToString()


def parse_head(head: bytes) -> ProcessRequest:
    """Parses all of a request but its events. INVALID_ARGUMENT if it does not parse."""
    try:
        return ProcessRequest.FromString(head)
    except DecodeError as error:
        raise RingmillError(Code.INVALID_ARGUMENT, f"the request does not parse: {error}") from None
