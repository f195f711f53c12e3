"""Errors that carry the wire code they become. Translated to gRPC only at the boundary."""

import enum


class Code(enum.IntEnum):
    """gRPC status codes (grpc/doc/statuscodes.md), so that pure modules need not import grpc."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RingmillError(Exception):
    """A failure with a gRPC status code and a message for people that names the mend."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Reason(enum.IntEnum):
    """Why an event was not applied: the numbers of ringmill.v1.RejectionReason."""

    NONE = 0
    KEY_INVALID = 1
    VALUES_INVALID = 2
    LABELS_INVALID = 3
    INTEGERS_INVALID = 4
    TIME_INVALID = 5
    LATE = 6
    PERMISSION_DENIED = 7
    OPERATOR_FAILED = 8
    ALREADY_APPLIED = 9
    OUT_OF_ORDER = 10
    OVERLOADED = 32
    UNAVAILABLE = 33
    DEADLINE = 34
