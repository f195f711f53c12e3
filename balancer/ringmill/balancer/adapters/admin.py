"""Public port: what operators ask (AdminService), and where a key lives (ProcessingService.Locate)."""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial

from ringmill.balancer.adapters.hub import Hub
from ringmill.balancer.manager import Manager
from ringmill.balancer.moves import Move
from ringmill.core.errors import Code, RingmillError
from ringmill.core.hashing import partition_of
from ringmill.core.maglev import NOBODY
from ringmill.transport.api import Accept, Loop, Status, Stream, Timer
from ringmill.transport.unary import QUESTION_BYTES_MAX, parse, unary_message
from ringmill.v1 import admin_pb2, processing_pb2

PROCESSING = processing_pb2.DESCRIPTOR.services_by_name["ProcessingService"].full_name
ADMIN = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name

POLL_S = 0.1
"""How often a move's progress is looked at."""

TELL_S = 1.0
"""How often it is told even if nothing has changed."""

LEDGER_TIMEOUT_S = 5.0

LOCATED_MAX = 1024
"""Keys that one call may look for: meanwhile nothing is routed."""


def admin_routes(hub: Hub, loop: Loop) -> dict[str, Accept]:
    """The methods by full name. The hub's ledgers are heard from here on."""
    ledgers = Ledgers(hub)
    hub.on_ledger = ledgers.hear
    return {
        f"/{PROCESSING}/Locate": unary_message(processing_pb2.LocateRequest, partial(_locate, hub)),
        f"/{ADMIN}/ListWorkers": unary_message(admin_pb2.ListWorkersRequest, partial(_list_workers, hub)),
        f"/{ADMIN}/ExplainKey": unary_message(admin_pb2.ExplainKeyRequest, partial(_explain_key, hub)),
        f"/{ADMIN}/MoveWorkers": lambda stream: MoveHandler(hub, loop, stream),
        f"/{ADMIN}/GetLedger": lambda stream: LedgerHandler(ledgers, loop, stream),
    }


def _list_workers(hub: Hub, _request: admin_pb2.ListWorkersRequest) -> admin_pb2.ListWorkersResponse:
    manager = hub.manager
    view, figures = manager.view, manager.figures()
    workers = [
        admin_pb2.Worker(
            name=each.name,
            state=each.state,
            partitions=each.partitions,
            copies=each.copies,
            learning=each.learning,
            keys=each.keys,
            state_bytes=each.state_bytes,
            host=each.host,
            zone=each.zone,
        )
        for each in manager.workers()
    ]
    return admin_pb2.ListWorkersResponse(
        epoch=view.version,
        workers=workers,
        copies_wanted=manager.copies_wanted,
        partitions_short=figures.short,
        partitions_refused=figures.refused,
        partitions=view.partitions,
        cluster=view.cluster,
    )


def _located(manager: Manager, key: str) -> processing_pb2.Location:
    if not manager.formed:
        raise RingmillError(Code.UNAVAILABLE, manager.missing())
    found = manager.explain(partition_of(key.encode(), manager.view.partitions))
    return processing_pb2.Location(partition=found.partition, primary=found.primary, replicas=found.replicas)


def _locate(hub: Hub, request: processing_pb2.LocateRequest) -> processing_pb2.LocateResponse:
    if len(request.keys) > LOCATED_MAX:
        raise RingmillError(Code.RESOURCE_EXHAUSTED, f"{len(request.keys)} keys in one call; ask for {LOCATED_MAX}")
    return processing_pb2.LocateResponse(
        epoch=hub.manager.view.version, locations=[_located(hub.manager, key) for key in request.keys]
    )


def _explain_key(hub: Hub, request: admin_pb2.ExplainKeyRequest) -> admin_pb2.ExplainKeyResponse:
    location = _located(hub.manager, request.key)
    found = hub.manager.explain(location.partition)
    return admin_pb2.ExplainKeyResponse(
        epoch=hub.manager.view.version, location=location, why=found.why, partition_epoch=found.epoch
    )


class _Asked:
    """Hears one request, and acts on it when the client has said all."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._message: bytes | None = None

    def on_message(self, message: bytes) -> None:
        """Keeps the request."""
        if self._message is not None:
            raise RingmillError(Code.INVALID_ARGUMENT, f"{self._stream.method} takes one request, not several")
        if len(message) > QUESTION_BYTES_MAX:
            raise RingmillError(Code.RESOURCE_EXHAUSTED, f"{len(message)} bytes in one request")
        self._message = message

    def on_half_close(self) -> None:
        """Answers it."""
        if self._message is None:
            raise RingmillError(Code.INVALID_ARGUMENT, f"{self._stream.method} takes one request, and none came")
        self._answer(self._message)

    def on_drain(self) -> None:
        """Has nothing more to send."""

    def on_close(self, status: Status) -> None:
        """Has nothing to tidy."""

    def _answer(self, message: bytes) -> None:
        raise NotImplementedError


class MoveHandler(_Asked):
    """Begins a move and tells of its progress. When the client goes away the move goes on."""

    def __init__(self, hub: Hub, loop: Loop, stream: Stream) -> None:
        super().__init__(stream)
        self._hub = hub
        self._loop = loop
        self._timer: Timer | None = None
        self._told: admin_pb2.MoveWorkersResponse | None = None
        self._text = ""
        self._untold_s = 0.0

    def on_close(self, status: Status) -> None:
        """Nobody listens any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _answer(self, message: bytes) -> None:
        request = parse(admin_pb2.MoveWorkersRequest, message)
        move = self._begin(request)
        self._tell(move, True)
        if move.done:
            self._stream.finish()
        else:
            self._timer = self._loop.call_later(POLL_S, partial(self._poll, move.number))

    def _begin(self, request: admin_pb2.MoveWorkersRequest) -> Move:
        manager, dry, now_ms = self._hub.manager, request.validate_only, self._hub.clock() // 1_000_000
        match request.WhichOneof("move"):
            case "scale_to":
                return manager.scale(request.scale_to, dry, now_ms)
            case "drain":
                return manager.drain_worker(request.drain, dry, now_ms)
            case "restart_all" if request.restart_all:
                return manager.restart_all(dry, now_ms)
        raise RingmillError(Code.INVALID_ARGUMENT, "say what to move: scale_to, drain or restart_all")

    def _poll(self, number: int) -> None:
        move = self._hub.manager.move(number)
        if move.error is not None:
            self._stream.finish(Status(move.error.code, move.error.message))
            return
        self._untold_s += POLL_S
        self._tell(move, move.done or self._untold_s >= TELL_S)
        if move.done:
            self._stream.finish()
        else:
            self._timer = self._loop.call_later(POLL_S, partial(self._poll, number))

    def _tell(self, move: Move, anyhow: bool) -> None:
        response = admin_pb2.MoveWorkersResponse(
            moved=move.moved,
            total=move.total,
            copied=move.copied,
            copies=move.copies,
            pause_us=1000 * move.pause_ms,
        )
        if response == self._told and move.text == self._text and not anyhow:
            return
        self._told = admin_pb2.MoveWorkersResponse.FromString(response.SerializeToString())
        if move.text != self._text:
            response.text = self._text = move.text
        self._untold_s = 0.0
        self._stream.send(response.SerializeToString())


class Ledgers:
    """Asks all primaries for their ledgers, for whoever wants to know."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._calls: list[_LedgerCall] = []

    def ask(self, done: Callable[[list[admin_pb2.LedgerRow]], None]) -> "_LedgerCall":
        """Asks; done hears the rows of all. Raises UNAVAILABLE while the cluster has not formed."""
        manager = self._hub.manager
        if not manager.formed:
            raise RingmillError(Code.UNAVAILABLE, manager.missing())
        view = manager.view
        primaries = {view.members[place].name for place in set(view.table.tolist()) if place != NOBODY}
        call = _LedgerCall({link: name for name, link in manager.links.items() if name in primaries}, done)
        self._calls.append(call)
        self._hub.ask_ledger()
        self._finish()
        return call

    def hear(self, link: int, rows: Sequence[admin_pb2.LedgerRow]) -> None:
        """A worker has answered."""
        for call in self._calls:
            if call.waits_for.pop(link, None) is not None:
                call.rows.extend(rows)
        self._finish()

    def forget(self, call: "_LedgerCall") -> None:
        """Nobody waits for this one any more."""
        with contextlib.suppress(ValueError):
            self._calls.remove(call)

    def _finish(self) -> None:
        for call in [call for call in self._calls if not call.waits_for]:
            self._calls.remove(call)
            call.done(call.rows)


class _LedgerCall:
    def __init__(self, waits_for: dict[int, str], done: Callable[[list[admin_pb2.LedgerRow]], None]) -> None:
        self.waits_for = waits_for
        self.rows: list[admin_pb2.LedgerRow] = []
        self.done = done


class LedgerHandler(_Asked):
    """Answers once all primaries have, or says who has not."""

    def __init__(self, ledgers: Ledgers, loop: Loop, stream: Stream) -> None:
        super().__init__(stream)
        self._ledgers = ledgers
        self._loop = loop
        self._call: _LedgerCall | None = None
        self._timer: Timer | None = None

    def on_close(self, status: Status) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._call is not None:
            self._ledgers.forget(self._call)

    def _answer(self, message: bytes) -> None:
        wanted = set(parse(admin_pb2.GetLedgerRequest, message).partitions)
        self._timer = self._loop.call_later(LEDGER_TIMEOUT_S, self._late)
        self._call = self._ledgers.ask(partial(self._done, wanted))

    def _done(self, wanted: set[int], rows: list[admin_pb2.LedgerRow]) -> None:
        chosen = [row for row in rows if not wanted or row.partition in wanted]
        response = admin_pb2.GetLedgerResponse(rows=sorted(chosen, key=lambda row: row.partition))
        self._stream.send(response.SerializeToString())
        self._stream.finish()

    def _late(self) -> None:
        assert self._call is not None
        names = ", ".join(sorted(self._call.waits_for.values()))
        self._stream.finish(Status(Code.UNAVAILABLE, f"no ledger came from {names}: ask again"))
