"""Responses as the official library reads them, and what every one must be."""

from google.protobuf.message import DecodeError

from ringmill.client.errors import ClientError
from ringmill.core.errors import Code
from ringmill.v1 import processing_pb2 as pb


def parse_response(message: bytes) -> pb.ProcessResponse:
    """Parses a response with the official library. Raises ClientError INTERNAL."""
    try:
        return pb.ProcessResponse.FromString(message)
    except DecodeError as error:
        raise ClientError(Code.INTERNAL, f"the server sent a response that does not parse: {error}") from None


def check_sequence(head: pb.ProcessResponse, sequence: int) -> None:
    """Raises ClientError INTERNAL for the answer to another request."""
    if head.sequence != sequence:
        raise ClientError(Code.INTERNAL, f"the server answered sequence {head.sequence} in place of {sequence}")
