"""Writes requests.json with the official library and the xxhash package: python tests/golden/wire/make.py.

Each entry has a request in hex and either its events (key, xxh64 and partition of 1,021, time, arrays) or "refused".
Clients in any language can test their hash and their codec with it.
"""

import json
from pathlib import Path

import xxhash
from google.protobuf.message import DecodeError

from ringmill.v1.processing_pb2 import Event, ProcessRequest

PARTITIONS = 1021
EVENT = Event(key="N14228", time_us=1_700_000_000_000_000, values=[1.5, -2.0], labels=["UA"], integers=[7])
KEYS = ("a", "N14228", "gr\u00f6\u00dfe", "\U0001f600", "k" * 31, "k" * 32, "k" * 33, "k" * 1024, "nul\0inside")


def with_length(*fields: str) -> str:
    """An event of up to 127 bytes from its fields in hex."""
    payload = "".join(fields)
    return f"22{len(payload) // 2:02x}{payload}"


HAND_WRITTEN = {
    "fields in reverse": with_length(
        "2a080700000000000000", "22025541", "19000000000000f83f", "1100407a10f35a0000", "0a0161"
    ),
    "values packed, then one alone": with_length("0a0161", "1a08000000000000f03f", "190000000000000040", "1a00"),
    "key twice, the last counts": "2206" + "0a0161" + "0a0162",
    "unknown fields of every wire type": with_length(
        "0a0161", "4801", "490000000000000000", "4a0161", "4b08014c", "4d00000000"
    ),
    "key as a varint is unknown": "2205" + "0a0161" + "0801",
    "tag of five bytes": "a280808000" + "03" + "0a0161",
    "tag of six bytes": "a28080808000" + "03" + "0a0161",
    "length of five bytes": "22" + "8380808000" + "0a0161",
    "length of six bytes": "22" + "838080808000" + "0a0161",
    "varint of ten bytes": "18ffffffffffffffffff01" + "2203" + "0a0161",
    "varint of eleven bytes": "18ffffffffffffffffffff01",
    "field number 0": "0001",
    "wire type 6": "0e",
    "wire type 7": "0f",
    "group that ends with another number": "4b" + "54",
    "group that never ends": "4b",
    "groups 100 deep": "4b" * 100 + "4c" * 100,
    "groups 101 deep": "4b" * 101 + "4c" * 101,
    "key cut off": "2203" + "0a0261",
    "event cut off": "2204" + "0a0161",
    "key past its event": "2202" + "0a0161",
    "packed values of 7 bytes": "2209" + "1a0700000000000000",
    "key with a surrogate": "2205" + "0a03eda080",
    "key over-long": "2204" + "0a02c080",
    "key invalid, then valid": "2206" + "0a01ff" + "0a0161",
    "label invalid": "2206" + "0a0161" + "2201ff",
}


def described(event: Event) -> dict[str, object]:
    """What every codec must find in an event."""
    digest = xxhash.xxh64_intdigest(event.key.encode())
    return {
        "key": event.key,
        "hash": f"{digest:016x}",
        "partition": digest % PARTITIONS,
        "time_us": event.time_us,
        "values": list(event.values),
        "labels": list(event.labels),
        "integers": list(event.integers),
    }


def entry(name: str, message: bytes) -> dict[str, object]:
    """A request and what the official library makes of it."""
    try:
        request = ProcessRequest.FromString(message)
    except DecodeError:
        return {"name": name, "request": message.hex(), "refused": True}
    return {"name": name, "request": message.hex(), "events": [described(event) for event in request.events]}


def golden() -> str:
    """The whole file."""
    written = {
        "empty": ProcessRequest(),
        "one event, every field": ProcessRequest(pipeline="flights", sequence=1, events=[EVENT]),
        "empty event": ProcessRequest(events=[Event()]),
        "keys": ProcessRequest(events=[Event(key=key) for key in KEYS]),
    }
    entries = [entry(name, request.SerializeToString()) for name, request in written.items()]
    entries += [entry(name, bytes.fromhex(text)) for name, text in HAND_WRITTEN.items()]
    return json.dumps(entries, indent=1, ensure_ascii=True) + "\n"


if __name__ == "__main__":
    Path(__file__).with_name("requests.json").write_text(golden())
