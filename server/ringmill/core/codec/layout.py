"""What the codec must know of a message, read from its descriptor: which field plays which role, how it is encoded.

The compiled codec knows roles (key, time, values, labels, integers) and no field numbers of its own. Today the roles
are found by the names of `ringmill.v1`; mapping the fields of a user's own message to the same roles is not served yet.
"""

import enum
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.descriptor import FieldDescriptor

from ringmill.core.wire import DELIMITED, FIXED64, VARINT

KEY_BYTES_MAX = 1024
LABEL_BYTES_MAX = 1024
TIME_US_MAX = 253_402_300_799_999_999
"""The last microsecond of the year 9999, the end of google.protobuf.Timestamp."""
RESERVED_FIRST = 100
RESERVED_LAST = 127
"""Top-level fields between our own processes, refused from clients."""

MALFORMED = -1
"""Count returned for bytes that the official library refuses."""
TOO_MANY = -2
"""Count returned for a message with more events than the arrays hold."""
RESERVED = -3
"""Count returned for a message with a reserved top-level field."""

MessageDescriptor: TypeAlias = Any
"""A message's descriptor; the official library has several classes for it, and its stubs name them all."""


class Role(enum.Enum):
    """What a field of an event means to a pipeline."""

    KEY = "key"
    TIME = "time_us"
    VALUES = "values"
    LABELS = "labels"
    INTEGERS = "integers"


_TYPES = {
    Role.KEY: (FieldDescriptor.TYPE_STRING, False),
    Role.TIME: (FieldDescriptor.TYPE_SFIXED64, False),
    Role.VALUES: (FieldDescriptor.TYPE_DOUBLE, True),
    Role.LABELS: (FieldDescriptor.TYPE_STRING, True),
    Role.INTEGERS: (FieldDescriptor.TYPE_SFIXED64, True),
}


@dataclass(frozen=True, slots=True)
class Arm:
    """One field of the event that the decoder reads."""

    role: Role
    number: int
    repeated: bool
    delimited_tag: int
    """Tag of a string, or of a packed run; field number * 8 + 2."""
    fixed_tag: int
    """Tag of one 8-byte number standing alone; -1 where the field is a string."""


@dataclass(frozen=True, slots=True)
class EventLayout:
    """Where the roles of an event stand in a request."""

    events_number: int
    """Field number of the repeated events in the request."""
    arms: tuple[Arm, ...]

    def arm(self, role: Role) -> Arm:
        """The arm of a role."""
        return next(arm for arm in self.arms if arm.role is role)


def event_layout(request: MessageDescriptor, events: str = "events") -> EventLayout:
    """Reads the layout of a request's repeated events. Raises ValueError where a field has not its role's type."""
    field = request.fields_by_name[events]
    if field.message_type is None or not field.is_repeated:
        raise ValueError(f"{field.full_name} is not a repeated message")
    return EventLayout(field.number, tuple(_arm(field.message_type, role) for role in Role))


def _arm(event: MessageDescriptor, role: Role) -> Arm:
    field = event.fields_by_name[role.value]
    if (field.type, field.is_repeated) != _TYPES[role]:
        raise ValueError(f"{field.full_name} has not the type of a {role.name.lower()} field")
    tag = field.number << 3
    is_string = field.type == FieldDescriptor.TYPE_STRING
    return Arm(role, field.number, field.is_repeated, tag | DELIMITED, -1 if is_string else tag | FIXED64)


@dataclass(frozen=True, slots=True)
class OutcomeLayout:
    """The tags that the encoder writes: field number * 8 + wire type."""

    outcomes: int
    """Repeated Outcome of the response."""
    values: int
    """Packed doubles of an Outcome."""
    rejection: int
    integers: int
    """Packed sfixed64 of an Outcome."""
    labels: int
    reason: int
    """Varint of a Rejection."""
    detail: int


def outcome_layout(response: MessageDescriptor) -> OutcomeLayout:
    """Reads the layout of a response's repeated outcomes."""
    outcomes = response.fields_by_name["outcomes"]
    outcome = outcomes.message_type.fields_by_name
    rejection = outcome["rejection"].message_type.fields_by_name
    return OutcomeLayout(
        outcomes=outcomes.number << 3 | DELIMITED,
        values=outcome["values"].number << 3 | DELIMITED,
        rejection=outcome["rejection"].number << 3 | DELIMITED,
        integers=outcome["integers"].number << 3 | DELIMITED,
        labels=outcome["labels"].number << 3 | DELIMITED,
        reason=rejection["reason"].number << 3 | VARINT,
        detail=rejection["detail"].number << 3 | DELIMITED,
    )


@dataclass(frozen=True, slots=True)
class EmissionLayout:
    """The tags of an Emission inside an Outcome."""

    emissions: int
    """Repeated Emission of the Outcome."""
    time: int
    values: int
    labels: int
    integers: int
    emitter: int
    start: int
    revision: int


def emission_layout(response: MessageDescriptor) -> EmissionLayout:
    """Reads the layout of an outcome's repeated emissions."""
    emissions = response.fields_by_name["outcomes"].message_type.fields_by_name["emissions"]
    emission = emissions.message_type.fields_by_name
    return EmissionLayout(
        emissions=emissions.number << 3 | DELIMITED,
        time=emission["time_us"].number << 3 | FIXED64,
        values=emission["values"].number << 3 | DELIMITED,
        labels=emission["labels"].number << 3 | DELIMITED,
        integers=emission["integers"].number << 3 | DELIMITED,
        emitter=emission["emitter"].number << 3 | VARINT,
        start=emission["start_us"].number << 3 | FIXED64,
        revision=emission["revision"].number << 3 | VARINT,
    )


@dataclass(frozen=True, slots=True)
class FieldRules:
    """What a pipeline asks of an event's arrays. Arrays shorter than `*_required` or longer than `*` are rejected."""

    values: int
    values_required: int
    value_defaults: tuple[float, ...]
    """One for each value; NaN: missing. Used for the tail that an event leaves out."""
    nullable: tuple[bool, ...]
    """Whether NaN may stand in each value."""
    labels: int
    labels_required: int
    integers: int
    integers_required: int
    integer_defaults: tuple[int, ...]
    bools: tuple[bool, ...]
    """Whether each integer must be 0 or 1."""
    uses_time: bool
    """Whether an event without a time is rejected."""

    def __post_init__(self) -> None:
        if len(self.value_defaults) != self.values or len(self.nullable) != self.values:
            raise ValueError("value_defaults and nullable need one entry for each value")
        if len(self.integer_defaults) != self.integers or len(self.bools) != self.integers:
            raise ValueError("integer_defaults and bools need one entry for each integer")
