"""What an operator calls of a balancer. What goes wrong is told with its mend."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import grpc

from ringmill.core.errors import Code, RingmillError
from ringmill.v1 import admin_pb2 as pb
from ringmill.v1.admin_pb2_grpc import AdminServiceStub
from ringmill.v1.processing_pb2 import LocateRequest, LocateResponse, Location
from ringmill.v1.processing_pb2_grpc import ProcessingServiceStub

ANSWER_S = 10.0
"""How long a balancer may take to answer; moves take as long as they take."""
CONNECT_S = 3.0
LOCATED_MAX = 1024
"""Keys that are looked for with one call; a balancer refuses more."""

_AdminStub: Any = AdminServiceStub
_ProcessingStub: Any = ProcessingServiceStub
"""Generated, and without types."""


class Admin:
    """One balancer, as an operator sees it. Every method raises RingmillError that names the mend."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._stub = _AdminStub(channel)
        self._processing = _ProcessingStub(channel)
        self._address = address

    def workers(self) -> pb.ListWorkersResponse:
        """The workers and what each holds."""
        answer: pb.ListWorkersResponse = self._ask(self._stub.ListWorkers, pb.ListWorkersRequest())
        return answer

    def explain(self, key: str) -> pb.ExplainKeyResponse:
        """Where a key lives, and why there."""
        answer: pb.ExplainKeyResponse = self._ask(self._stub.ExplainKey, pb.ExplainKeyRequest(key=key))
        return answer

    def locate(self, keys: Sequence[str]) -> Sequence[Location]:
        """Where keys live, in their order."""
        found: list[Location] = []
        for first in range(0, len(keys), LOCATED_MAX):
            request = LocateRequest(keys=keys[first : first + LOCATED_MAX])
            answer: LocateResponse = self._ask(self._processing.Locate, request)
            found += answer.locations
        return found

    def ledger(self, partitions: list[int]) -> pb.GetLedgerResponse:
        """What became of all events, by partition; no partitions: all."""
        answer: pb.GetLedgerResponse = self._ask(self._stub.GetLedger, pb.GetLedgerRequest(partitions=partitions))
        return answer

    def move(self, request: pb.MoveWorkersRequest) -> Iterator[pb.MoveWorkersResponse]:
        """Has workers moved, and tells how far it is."""
        with self._mended():
            yield from self._stub.MoveWorkers(request)

    def _ask(self, method: Any, request: Any) -> Any:
        with self._mended():
            return method(request, timeout=ANSWER_S)

    @contextmanager
    def _mended(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as problem:
            code, details = Code(problem.code().value[0]), problem.details() or ""
            raise RingmillError(code, self._mend(code, details)) from None

    def _mend(self, code: Code, details: str) -> str:
        """What the server said, and what to do about it."""
        match code:
            case Code.UNIMPLEMENTED:
                return (
                    f"{self._address} does not serve this ({details or 'UNIMPLEMENTED'}): "
                    "name the public address of a balancer, not of a worker"
                )
            case Code.DEADLINE_EXCEEDED:
                return f"{self._address} did not answer within {ANSWER_S:.0f} s: is it a balancer, and does it run?"
            case Code.UNAVAILABLE:
                return f"{self._address}: {details or 'the connection broke'}"
            case _:
                return details or f"{self._address} answered {code.name}"


@contextmanager
def connected(address: str) -> Iterator[Admin]:
    """A balancer that listens. Raises RingmillError UNAVAILABLE where nothing does."""
    _knock(address)
    with grpc.insecure_channel(address) as channel:
        yield Admin(channel, address)


def _knock(address: str) -> None:
    """Finds out at once, and in plain words, that nobody is there."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise RingmillError(Code.INVALID_ARGUMENT, f"{address!r} is no address: say --address HOST:PORT")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_S).close()
    except OSError as problem:
        why = problem.strerror or str(problem) or "no answer"
        raise RingmillError(
            Code.UNAVAILABLE,
            f"nothing listens at {address} ({why}): start a cluster with `ringmill up APP`, or name the balancer's "
            "public address with --address HOST:PORT; one that was just killed is back in some seconds",
        ) from None
