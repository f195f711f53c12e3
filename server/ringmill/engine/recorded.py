"""The bytes of recorded outcomes: responses are cut up and put in order, exports are read."""

import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ringmill.core.codec.fields import split_fields
from ringmill.core.columns import RANGE
from ringmill.core.errors import Code, RingmillError
from ringmill.engine import recall as kernels
from ringmill.engine.records import Record, Share
from ringmill.v1.processing_pb2 import ProcessResponse

PRODUCER_HEAD = struct.Struct("<QQQ")  # producer, floor, records
RECORD_HEAD = struct.Struct("<QQIIQ")  # sequence, content, pipeline, events, bytes

_OUTCOMES = ProcessResponse.DESCRIPTOR.fields_by_name["outcomes"].number


class Exported(NamedTuple):
    """One record of an export; sequence 0: only what is said of the producer."""

    producer: int
    floor: int
    sequence: int
    content: int
    pipeline: int
    events: int
    outcomes: bytes


def rank(record: Record, response: bytes) -> None:
    """Puts a record's outcomes in the order of their partitions."""
    buffer = np.frombuffer(response, np.uint8)
    partitions = record.event_partitions()
    ranges, _ = ranges_of(buffer, [buffer.size], [partitions.size])
    bounds = np.stack([ranges["start"] - ranges["flags"], ranges["stop"]], axis=1)
    order = np.argsort(partitions, kind="stable")
    out, stops = np.empty(buffer.size, np.uint8), np.zeros(order.size + 1, np.int64)
    if not kernels.gather(order, bounds, buffer, out, stops):
        raise unfit()
    if not record.rank(order, stops, out[: int(stops[-1])].tobytes()):
        raise unfit()


def share_of(record: Record, response: bytes, partition: int) -> Share:
    """What a record has of a partition, found among its events as they stand."""
    ranges, _ = ranges_of(np.frombuffer(response, np.uint8), [len(response)], [record.event_partitions().size])
    chosen = ranges[record.events_of(partition)]
    bounds = zip((chosen["start"] - chosen["flags"]).tolist(), chosen["stop"].tolist(), strict=True)
    return Share(record.content_of(partition), chosen.size, b"".join([response[start:stop] for start, stop in bounds]))


def unfit() -> RingmillError:
    """What is raised where a record is not what it should be."""
    return RingmillError(Code.INTERNAL, "a recorded outcome does not fit its event")


def ranges_of(buffer: npt.NDArray[np.uint8], lengths: list[int], counts: list[int]) -> tuple[npt.NDArray[Any], bytes]:
    """The outcomes of responses that stand one after the other, as RANGE[sum of counts], and the rest of the first.

    Raises RingmillError INTERNAL where one has not as many outcomes as `counts` says.
    """
    ranges = np.zeros(sum(counts), RANGE)
    rest = np.empty(buffer.size, np.uint8)
    rests = []
    start = base = 0
    for length, count in zip(lengths, counts, strict=True):
        found, rest_length = split_fields(buffer, start, start + length, _OUTCOMES, ranges[base : base + count], rest)
        if found != count:
            raise unfit()
        rests.append(rest[:rest_length].tobytes())
        start, base = start + length, base + count
    return ranges, rests[0]


def read_export(partition: int, data: bytes) -> Iterator[Exported]:
    """The records of an export. Raises RingmillError DATA_LOSS where it is not one."""
    damaged = RingmillError(Code.DATA_LOSS, f"export of partition {partition}: its recorded outcomes are not valid")
    position = 0
    try:
        while position < len(data):
            producer, floor, count = PRODUCER_HEAD.unpack_from(data, position)
            position += PRODUCER_HEAD.size
            yield Exported(producer, floor, 0, 0, 0, 0, b"")
            for _ in range(count):
                sequence, content, pipeline, events, length = RECORD_HEAD.unpack_from(data, position)
                position += RECORD_HEAD.size
                outcomes = data[position : position + length]
                position += length
                if len(outcomes) != length or events > length or not sequence:
                    raise damaged
                ranges_of(np.frombuffer(outcomes, np.uint8), [length], [events])
                yield Exported(producer, floor, sequence, content, pipeline, events, outcomes)
    except struct.error:
        raise damaged from None
    except RingmillError:
        raise damaged from None
