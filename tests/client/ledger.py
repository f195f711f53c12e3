"""What a server that deduplicates must do, as a model: sessions, sequences, recorded answers, and a primary that may be
lost before its replica has what it answered. It also checks what it is sent: a client that resends wrongly is found
out here."""

from ringmill.core.errors import Code, RingmillError
from ringmill.v1 import processing_pb2 as pb


class Ledger:
    """One producer's state on the servers. Its streams come and go; it stays."""

    def __init__(self, max_in_flight: int = 64, max_events: int = 100, recorded_max: int = 64) -> None:
        self.applied: list[str] = []
        """Keys of the events, in the order in which they were applied."""
        self.info = pb.StreamInfo(
            version="1.2.0",
            deduplicates=True,
            max_in_flight=max_in_flight,
            max_events=max_events,
            max_request_bytes=20_000,
        )
        self.session = 0
        self.fence = 0
        self.openings: list[int] = []
        """Sessions asked for, by stream."""
        self.producers: list[str] = []
        """Who asked, by stream."""
        self.last = 0
        self.committed = 0
        """Highest sequence that the replica has."""
        self.acknowledged = 0
        self.recorded: dict[int, pb.ProcessResponse] = {}
        self.prints: dict[int, bytes] = {}
        self._sizes: dict[int, int] = {}
        self._recorded_max = recorded_max

    def open(self, request: pb.ProcessRequest) -> "LedgerStream":
        """Opens or resumes the session. Raises what ends the stream."""
        self.producers.append(request.producer)
        assert request.producer
        assert not request.events
        wanted = request.options.session
        self.openings.append(wanted)
        if wanted and not self.session:
            raise RingmillError(Code.FAILED_PRECONDITION, "the session is forgotten")
        if wanted and wanted != self.session:
            raise RingmillError(Code.ABORTED, "fenced by a newer session")
        self.fence += 1
        self.session = wanted or self.fence
        return LedgerStream(self, self.fence, request.options.ack == pb.ACK_LEVEL_PRIMARY)

    def commit(self) -> None:
        """The replica has caught up."""
        self.committed = self.last

    def fail_over(self) -> None:
        """The primary is lost with all that the replica does not have."""
        lost = [sequence for sequence in self._sizes if sequence > self.committed]
        for sequence in lost:
            del self.applied[len(self.applied) - self._sizes.pop(sequence) :]
            self.recorded.pop(sequence, None)
            self.prints.pop(sequence, None)
        self.last = self.committed

    def forget(self) -> None:
        """The producer is expired."""
        self.session = 0

    def apply(self, request: pb.ProcessRequest) -> pb.ProcessResponse:
        """The answer to a batch, which is applied unless it was before."""
        sequence = request.sequence
        events = b"".join(event.SerializeToString() for event in request.events)
        self.acknowledged = max(self.acknowledged, request.acknowledged)
        if sequence in self.prints and self.prints[sequence] != events:
            raise RingmillError(Code.INVALID_ARGUMENT, "a sequence was used again for another batch")
        if sequence <= self.last:
            known = self.recorded.get(sequence) if sequence > self.acknowledged else None
            return known or _refused(request, "ALREADY_APPLIED" if sequence in self._sizes else "OUT_OF_ORDER")
        answer = pb.ProcessResponse(sequence=sequence)
        for event in request.events:
            self.applied.append(event.key)
            answer.outcomes.append(pb.Outcome(integers=[len(self.applied)]))
        self.last = sequence
        self._sizes[sequence] = len(request.events)
        self.prints[sequence] = events
        self.recorded[sequence] = answer
        if len(self.recorded) > self._recorded_max:
            del self.recorded[min(self.recorded)]
        return answer


class LedgerStream:
    """One stream of the producer."""

    def __init__(self, ledger: Ledger, fence: int, primary: bool) -> None:
        self._ledger = ledger
        self._fence = fence
        self._primary = primary
        self._last = 0
        self._answered = 0

    def opened(self) -> pb.ProcessResponse:
        """The answer to the opening."""
        ledger = self._ledger
        info = pb.StreamInfo(session=ledger.session, last_sequence=ledger.last)
        info.MergeFrom(ledger.info)
        return pb.ProcessResponse(stream=info)

    def handle(self, request: pb.ProcessRequest) -> pb.ProcessResponse:
        """The answer to a request. Raises what ends the stream."""
        ledger = self._ledger
        if self._fence != ledger.fence:
            raise RingmillError(Code.ABORTED, "fenced by a newer stream")
        response = pb.ProcessResponse()
        if request.events:
            assert request.sequence > self._last, "a stream's sequences must grow"
            self._last = request.sequence
            response.CopyFrom(ledger.apply(request))
            if not self._primary:
                ledger.commit()
            self._answered = request.sequence
        elif request.sequence:
            raise AssertionError("a heartbeat has no sequence")
        response.committed_through = min(self._answered, ledger.committed)
        response.receipt.ack = (
            pb.ACK_LEVEL_PRIMARY if self._primary and request.sequence > ledger.committed else pb.ACK_LEVEL_ALL
        )
        return response


def _refused(request: pb.ProcessRequest, reason: str) -> pb.ProcessResponse:
    rejection = pb.Rejection(reason=f"REJECTION_REASON_{reason}")  # type: ignore[arg-type]
    count = len(request.events)
    return pb.ProcessResponse(
        sequence=request.sequence, outcomes=[pb.Outcome(rejection=rejection)] * count, rejected=count
    )
