"""A worker made of grpcio's own synchronous stack: it answers events with their times, and copies in no time."""

import queue
import socket
import threading
from typing import Any

import grpc
import numpy as np

from ringmill.core.maglev import NOBODY
from ringmill.core.view import View, view_from_proto
from ringmill.internal.v1.link_pb2 import (
    Heartbeat,
    JoinRequest,
    JoinResponse,
    Opened,
    PartResult,
    Registration,
    Report,
)
from ringmill.internal.v1.link_pb2_grpc import LinkServiceStub
from ringmill.v1.admin_pb2 import LedgerRow
from ringmill.v1.processing_pb2 import DescribePipelineResponse, Outcome, ProcessRequest, ProcessResponse

DEADLINE_S = 30.0
HEARTBEAT_S = 0.1


class SmallWorker:
    """Joins, and does what it is told until it is killed."""

    def __init__(self, link: str, name: str, incarnation: int = 1, digest: str = "d", **registered: Any) -> None:
        self.name = name
        self.incarnation = incarnation
        self.view: View | None = None
        self.seen = threading.Condition()
        self.answering = threading.Event()
        self.answering.set()
        self.error: grpc.RpcError | None = None
        self.copies = True
        """Whether it says of its learners and heirs what the manager waits for."""
        self.port = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self._say: queue.SimpleQueue[JoinRequest | None] = queue.SimpleQueue()
        described = DescribePipelineResponse(version="1.2.3", digest=digest)
        registration = Registration(
            name=name,
            incarnation=incarnation,
            pipelines=[described],
            pipeline_names=["p"],
            events_max=[100],
            peer_address=f"127.0.0.1:{self.port.getsockname()[1]}",
        )
        registration.MergeFrom(Registration(**registered))
        self._say.put(JoinRequest(registration=registration, heartbeat=Heartbeat(keys=3)))
        self._channel = grpc.insecure_channel(link)
        self.call = LinkServiceStub(self._channel).Join(iter(self._say.get, None))
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        threading.Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._over.wait(HEARTBEAT_S):
            obeyed = 0 if self.view is None else self.view.version
            self._say.put(JoinRequest(heartbeat=Heartbeat(keys=3, uncommitted=1, view_version=obeyed)))

    def _listen(self) -> None:
        try:
            for frame in self.call:
                self._hear(frame)
        except grpc.RpcError as error:
            self.error = error
        self._over.set()
        with self.seen:
            self.seen.notify_all()

    def _hear(self, frame: JoinResponse) -> None:
        if frame.HasField("view"):
            with self.seen:
                self.view = view_from_proto(frame.view)
                self.seen.notify_all()
            self._copy(self.view)
        for opened in frame.opens:
            if opened.id:
                self._say.put(JoinRequest(opened=[Opened(id=opened.id, session=opened.fence)]))
        if frame.ledger and self.view is not None:
            mine = np.flatnonzero(self.view.table == self.view.index(self.name))
            rows = [LedgerRow(partition=int(p), received=2, applied=2) for p in mine]
            self._say.put(JoinRequest(ledger=rows))
        for part in frame.parts:
            self.answering.wait(DEADLINE_S)
            asked = ProcessRequest.FromString(part.request)
            outcomes = [Outcome(values=[float(event.time_us)]) for event in asked.events]
            response = ProcessResponse(sequence=asked.sequence, outcomes=outcomes)
            self._say.put(JoinRequest(results=[PartResult(id=part.id, response=response.SerializeToString())]))

    def _copy(self, view: View) -> None:
        """A primary whose learners have all, and whose heirs may take over, as soon as it hears of them."""
        place = view.index(self.name)
        if not self.copies or place == NOBODY:
            return
        report = Report()
        for partition in np.flatnonzero((view.table == place) & (view.learners != NOBODY)):
            learner = view.members[view.learners[partition]]
            report.caught_up.add(
                partition=int(partition),
                epoch=int(view.epochs[partition]),
                learner=learner.name,
                incarnation=learner.incarnation,
                version=view.version,
            )
        for partition in np.flatnonzero((view.table == place) & (view.heirs != NOBODY)):
            heir = view.members[view.heirs[partition]].name
            report.sealed.add(
                partition=int(partition), epoch=int(view.epochs[partition]), heir=heir, version=view.version
            )
        if report.caught_up or report.sealed:
            self._say.put(JoinRequest(report=report))

    def until(self, version: int) -> "SmallWorker":
        return self.until_it(lambda view: view.version >= version)

    def until_it(self, holds: Any) -> "SmallWorker":
        """Waits for a view of which this is true."""
        with self.seen:
            assert self.seen.wait_for(lambda: self.view is not None and holds(self.view), DEADLINE_S)
        return self

    def until_over(self) -> "SmallWorker":
        self._thread.join(DEADLINE_S)
        assert not self._thread.is_alive()
        return self

    def hang(self) -> None:
        """It says nothing more, and its port still listens."""
        self._over.set()

    def drain(self) -> None:
        self._say.put(JoinRequest(draining=True))

    def kill(self) -> None:
        """As a process ends: its port is closed, and then its link."""
        self._over.set()
        self.port.close()
        self.call.cancel()
        self.answering.set()
        self._say.put(None)
        self._channel.close()
