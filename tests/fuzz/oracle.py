"""What the codec must say of a request, in slow and obvious Python over the official library's objects."""

import math
import struct
from collections.abc import Sequence
from typing import Any

import xxhash
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from ringmill.core.codec.layout import FieldRules
from ringmill.core.errors import Reason
from ringmill.v1.processing_pb2 import Event, ProcessRequest

PARTITIONS = 1021
_NAN = struct.pack("<d", math.nan)
_LAST_YEAR_US = 253_402_300_799_999_999


def parse(message: bytes) -> ProcessRequest | None:
    """The request, or None where the official library refuses it."""
    try:
        return ProcessRequest.FromString(message)
    except DecodeError:
        return None


def has_reserved(request: ProcessRequest) -> bool:
    """Whether a top-level field from 100 to 127 is there."""
    return any(100 <= field.field_number <= 127 for field in UnknownFieldSet(request))


def reason(event: Event, rules: FieldRules) -> Reason:
    """The first rule that an event breaks."""
    if not 1 <= len(event.key.encode()) <= 1024:
        return Reason.KEY_INVALID
    values = list(event.values)
    if not rules.values_required <= len(values) <= rules.values:
        return Reason.VALUES_INVALID
    if any(math.isinf(value) for value in values):
        return Reason.VALUES_INVALID
    if any(math.isnan(value) and not allowed for value, allowed in zip(values, rules.nullable, strict=False)):
        return Reason.VALUES_INVALID
    if not rules.labels_required <= len(event.labels) <= rules.labels:
        return Reason.LABELS_INVALID
    if any(len(label.encode()) > 1024 for label in event.labels):
        return Reason.LABELS_INVALID
    integers = list(event.integers)
    if not rules.integers_required <= len(integers) <= rules.integers:
        return Reason.INTEGERS_INVALID
    if any(flag and number not in (0, 1) for number, flag in zip(integers, rules.bools, strict=False)):
        return Reason.INTEGERS_INVALID
    if event.time_us < 0 or event.time_us > _LAST_YEAR_US or (rules.uses_time and event.time_us == 0):
        return Reason.TIME_INVALID
    return Reason.NONE


def fixed_part(event: Event, rules: FieldRules) -> tuple[Any, ...]:
    """(hash, time, key, partition, reason) of an event."""
    key = event.key.encode()
    digest = xxhash.xxh64_intdigest(key)
    return digest, event.time_us, key, digest % PARTITIONS, int(reason(event, rules))


def values(event: Event, rules: FieldRules) -> bytes:
    """The bytes of the row of doubles: defaults behind what the event has, and every NaN the same."""
    row = list(event.values) + list(rules.value_defaults[len(event.values) :])
    return b"".join(_NAN if math.isnan(value) else struct.pack("<d", value) for value in row)


def integers(event: Event, rules: FieldRules) -> list[int]:
    """The row of integers."""
    return list(event.integers) + list(rules.integer_defaults[len(event.integers) :])


def labels(event: Event, rules: FieldRules) -> list[tuple[int, bytes]]:
    """(hash, bytes) of each label; the empty one has no hash."""
    row: Sequence[str] = list(event.labels) + [""] * (rules.labels - len(event.labels))
    return [(xxhash.xxh64_intdigest(label.encode()) if label else 0, label.encode()) for label in row]
