"""Server reflection, by which tools such as grpcurl learn the methods (grpc/doc/server-reflection.md)."""

from collections.abc import Iterable
from typing import Any

from google.protobuf.descriptor_pool import Default, DescriptorPool
from grpc_reflection.v1alpha import reflection, reflection_pb2

from ringmill.transport.api import Accept, Status, Stream, StreamHandler
from ringmill.transport.unary import parse

SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
"""Both versions have the same messages, byte for byte; only the name of the service differs."""

QUEUED_BYTES_MAX = 1 << 16
"""Who does not read so many bytes of answers is not heard meanwhile."""


def reflection_routes(service_names: Iterable[str], pool: DescriptorPool | None = None) -> dict[str, Accept]:
    """The method of the service under both names, to add to a server. The pool (or the default one) holds the files."""
    names = (*service_names, *SERVICES)
    servicer = reflection.ReflectionServicer(names, pool or Default())

    def accept(stream: Stream) -> StreamHandler:
        return _Reflecting(stream, servicer)

    return {f"/{service}/ServerReflectionInfo": accept for service in SERVICES}


class _Reflecting:
    """One call: answers each request with grpcio's own servicer."""

    def __init__(self, stream: Stream, servicer: reflection.ReflectionServicer) -> None:
        self._stream = stream
        self._servicer: Any = servicer  # its stubs miss that it yields responses, and takes no notice of the context

    def on_message(self, message: bytes) -> None:
        """Answers."""
        request = parse(reflection_pb2.ServerReflectionRequest, message)
        for response in self._servicer.ServerReflectionInfo(iter((request,)), None):
            self._stream.send(response.SerializeToString())
        if self._stream.queued_bytes > QUEUED_BYTES_MAX:
            self._stream.pause()

    def on_half_close(self) -> None:
        """Ends the call."""
        self._stream.finish()

    def on_drain(self) -> None:
        """Hears the client again."""
        self._stream.resume()

    def on_close(self, status: Status) -> None:
        """Has nothing to tidy."""
