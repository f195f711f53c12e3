"""A network in virtual time, behind the transport's own interface: production adapters run on it unchanged.

Each direction of a stream is a queue in order, as TCP gives it. A break is heard by either side at a time of its own,
and what was sent before may still arrive, or not. A path that is cut holds everything back until it is whole again.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from ringmill.core.errors import Code, RingmillError
from ringmill.transport.api import OK, Accept, ClientTls, Limits, Metadata, ServerTls, Status, StreamHandler
from ringmill.transport.hearing import UNHEARD
from tests.sim.scheduler import MILLISECOND_NS, SECOND_NS, Process, Scheduler

WINDOW_BYTES = 64 << 10
"""What may be on its way in one direction before writes wait: flow control."""
PROMPT = 0.8
"""Chance that a write that there is room for is over at once. Where it is not, more gathers meanwhile."""
CONNECT_TIMEOUT_NS = 400 * MILLISECOND_NS
_FACTORS = (0.2, 1.0, 1.0, 10.0)
DELAY_MAX_NS = 60 * MILLISECOND_NS


@dataclass(slots=True)
class Weather:
    """How fast the network is, as drawn from the seed."""

    delay_ns: int = MILLISECOND_NS
    """Mean of the ordinary delay of a message."""
    slow: float = 0.0
    """Chance that a message takes many times as long."""

    def draw(self, random: Random, factor: float = 1.0) -> int:
        """The delay of one message."""
        delay_ns = int(random.random() * 2 * self.delay_ns * factor)
        if self.slow and random.random() < self.slow:
            delay_ns *= 20
        return min(delay_ns, DELAY_MAX_NS)


@dataclass(slots=True)
class Path:
    """One direction between two processes."""

    factor: float = 1.0
    """How slow it is, compared with the others."""
    cut: bool = False
    held: list["Direction"] = field(default_factory=list)
    """What waits until it is whole again."""


class Network:
    """All listeners, streams and paths."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.random = scheduler.random
        self.weather = Weather()
        self.uneven = False
        """Whether paths differ."""
        self.streams: list[End] = []
        """The dialling end of each open stream."""
        self._listeners: dict[str, tuple[Process, int, dict[str, Accept]]] = {}
        self._paths: dict[tuple[str, str], Path] = {}

    def path(self, source: Process, target: Process) -> Path:
        """The path from one process to another."""
        key = (source.name, target.name)
        found = self._paths.get(key)
        if found is None:
            factor = self.random.choice(_FACTORS) if self.uneven else 1.0
            found = self._paths[key] = Path(factor)
        return found

    def listen(self, address: str, process: Process, routes: dict[str, Accept]) -> None:
        """A process accepts calls at an address, as long as it lives."""
        self._listeners[address] = (process, process.life, routes)

    def listener(self, address: str) -> tuple[Process, dict[str, Accept]] | None:
        """Who listens at an address, if anybody does."""
        found = self._listeners.get(address)
        if found is None or not found[0].alive or found[0].life != found[1]:
            return None
        return found[0], found[2]

    def cut(self, source: Process, target: Process) -> None:
        """Nothing gets through any more, and nothing tells so."""
        self.path(source, target).cut = True

    def mend(self, source: Process, target: Process) -> None:
        """The path is whole again: what was held back goes on."""
        path = self.path(source, target)
        path.cut = False
        held, path.held = path.held, []
        for direction in held:
            direction.held = False
            direction.pump_later(self.weather.draw(self.random))

    def mend_all(self) -> None:
        """All paths are whole again."""
        for (source, target), path in self._paths.items():
            if path.cut:
                path.cut = False
                held, path.held = path.held, []
                for direction in held:
                    direction.held = False
                    direction.pump_later(self.weather.draw(self.random))
            assert not path.held, (source, target)

    def reset(self, end: "End", notice_ns: int) -> None:
        """A connection breaks: either side notices within `notice_ns`, and of what is on its way a part is lost."""
        for each in (end, end.other):
            each.outgoing.lose_suffix(self.random)
            status = Status(Code.UNAVAILABLE if each.dialled else Code.CANCELLED, "the connection broke")
            self.scheduler.at(int(self.random.random() * notice_ns), each.process, each.broken, (status,))

    def lost(self, process: Process) -> None:
        """A process died: all who talk with it hear so, some time, and get what it sent before, or a part of it."""
        for end in list(self.streams):
            for each in (end, end.other):
                if each.process is process and each.process.life != each.life:
                    each.outgoing.lose_suffix(self.random)
                    each.outgoing.put(Message(b"", _BROKEN, self._arrival(each.outgoing)))
                    each.is_open = False
        self.streams = [end for end in self.streams if end.is_open or end.other.is_open]

    def _arrival(self, direction: "Direction") -> int:
        return direction.arrival(self.scheduler.now_ns + self.weather.draw(self.random))

    def connect(self, caller: Process, address: str, method: str, handler: StreamHandler, metadata: Metadata) -> "End":
        """Opens a stream. A listener that is not there, or cannot be reached, closes it UNAVAILABLE."""
        found = self.listener(address)
        dialler = End(self, caller, method, metadata, address, dialled=True)
        dialler.handler = handler
        if found is None:
            dialler.other = End(self, caller, method, metadata, address, dialled=False)
            status = Status(Code.UNAVAILABLE, f"nobody listens at {address}")
            self.scheduler.at(self.weather.draw(self.random), caller, dialler.broken, (status,))
            return dialler
        server, routes = found
        answerer = End(self, server, method, metadata, caller.name, dialled=False)
        dialler.other, answerer.other = answerer, dialler
        dialler.link(), answerer.link()
        self.streams.append(dialler)
        accept = routes.get(method)
        dialler.outgoing.put(Message(b"", lambda end: end.accept(accept), self._arrival(dialler.outgoing)))
        self.scheduler.at(CONNECT_TIMEOUT_NS, caller, dialler.connect_late)
        return dialler

    def forget(self, end: "End") -> None:
        """A stream is over on both sides."""
        dialler = end if end.dialled else end.other
        if dialler in self.streams and not dialler.is_open and not dialler.other.is_open:
            self.streams.remove(dialler)


@dataclass(slots=True)
class Message:
    """Something on its way: a message, or, with `act`, the end of messages or of the stream."""

    data: bytes
    act: "Callable[[End], None] | None"
    arrives_ns: int


class Direction:
    """What is on its way from one end to the other, in order."""

    __slots__ = ("bytes", "cut_off", "held", "last_ns", "network", "path", "pumping", "source", "target", "waiting")

    def __init__(self, network: Network, source: "End", target: "End") -> None:
        self.network = network
        self.source = source
        self.target = target
        self.path = network.path(source.process, target.process)
        self.waiting: deque[Message] = deque()
        self.bytes = 0
        self.last_ns = 0
        self.held = False
        self.pumping = False
        self.cut_off = False
        """Whether all that is sent from now on is lost."""

    def arrival(self, wanted_ns: int) -> int:
        """When something sent now arrives: never before what was sent earlier."""
        self.last_ns = max(self.last_ns, wanted_ns)
        return self.last_ns

    def put(self, message: Message) -> None:
        """Sends something."""
        self.waiting.append(message)
        self.bytes += len(message.data)
        if not self.pumping and not self.held:
            self.pump_later(max(0, message.arrives_ns - self.network.scheduler.now_ns))

    def pump_later(self, delay_ns: int) -> None:
        """Delivers what has come, after a delay. The network does so: neither end needs to live."""
        self.pumping = True
        self.network.scheduler.at(delay_ns, None, self.pump)

    def pump(self) -> None:
        """Delivers what has come by now."""
        self.pumping = False
        scheduler = self.network.scheduler
        now_ns = scheduler.now_ns
        while self.waiting:
            if self.path.cut:
                self.held = True
                self.path.held.append(self)
                return
            message = self.waiting[0]
            if message.arrives_ns > now_ns:
                self.pump_later(message.arrives_ns - now_ns)
                return
            self.waiting.popleft()
            scheduler.within(self.target.process, self.target.receive, (message,))

    def lose_suffix(self, random: Random) -> None:
        """Of what is on its way only a beginning will arrive, and nothing that is sent from now on."""
        self.cut_off = True
        keep = random.randint(0, len(self.waiting)) if self.waiting and random.random() < 0.7 else len(self.waiting)
        while len(self.waiting) > keep:
            self.bytes -= len(self.waiting.pop().data)


class End:
    """One side of a stream, as the transport's interface wants it."""

    deadline_s = None

    def __init__(
        self, network: Network, process: Process, method: str, metadata: Metadata, peer: str, *, dialled: bool
    ) -> None:
        self.network = network
        self.process = process
        self.life = process.life
        self.method = method
        self.metadata = metadata
        self.peer = peer
        self.dialled = dialled
        self.handler: StreamHandler = UNHEARD
        self.is_open = True
        self.writing = False
        self.queued_bytes = 0
        self.accepted = False
        self._queue: deque[bytes] = deque()
        self._unread: deque[Message] = deque()
        self._paused = False
        self._finishing: Status | None = None
        self.other: End
        self.outgoing: Direction

    def link(self) -> None:
        """Lays the wire to the other end."""
        self.outgoing = Direction(self.network, self, self.other)

    # What the owner calls

    def send(self, message: bytes) -> None:
        if not self.is_open or self._finishing is not None:
            return
        if self.writing:
            self._queue.append(message)
            self.queued_bytes += len(message)
        else:
            self._write(message)

    def pause(self) -> None:
        self._paused = True

    def resume(self) -> None:
        self._paused = False
        if self._unread:
            self.network.scheduler.at(0, self.process, self._read_on)

    def finish(self, status: Status = OK) -> None:
        if not self.is_open or self._finishing is not None:
            return
        self._finishing = status
        if not self.writing:
            self._finish_now()

    def cancel(self) -> None:
        if not self.is_open:
            return
        self._drop_queue()
        status = Status(Code.CANCELLED, "cancelled")
        self._send_end(lambda end: end.broken(status))
        self.network.scheduler.at(0, self.process, self.broken, (status,))

    # Writing

    def _write(self, message: bytes) -> None:
        self._put(message, None)
        network = self.network
        prompt = self.process.prompt and network.random.random() < PROMPT
        self.writing = not prompt or self.outgoing_bytes > WINDOW_BYTES
        if self.writing:
            network.scheduler.at(network.weather.draw(network.random) >> 2, self.process, self._written)

    def _put(self, data: bytes, act: "Callable[[End], None] | None") -> None:
        outgoing = getattr(self, "outgoing", None)
        if outgoing is None or outgoing.cut_off:
            return
        network = self.network
        network.scheduler.note(data)
        delay_ns = network.weather.draw(network.random, outgoing.path.factor)
        arrives_ns = outgoing.arrival(network.scheduler.now_ns + delay_ns)
        outgoing.put(Message(data, act, arrives_ns))

    def _written(self) -> None:
        if not self.is_open:
            return
        if self.outgoing_bytes > WINDOW_BYTES:
            self.network.scheduler.at(MILLISECOND_NS, self.process, self._written)
            return
        self.writing = False
        while self._queue and not self.writing:
            message = self._queue.popleft()
            self.queued_bytes -= len(message)
            self._write(message)
        if self.writing:
            return
        if self._finishing is not None:
            self._finish_now()
        else:
            self._guarded(self.handler.on_drain)

    @property
    def outgoing_bytes(self) -> int:
        """Bytes on their way to the other end."""
        outgoing = getattr(self, "outgoing", None)
        return 0 if outgoing is None else outgoing.bytes

    def _finish_now(self) -> None:
        status = self._finishing
        assert status is not None
        if self.dialled:
            self._send_end(lambda end: end.half_closed())
        else:
            self._send_end(lambda end: end.broken(status))
            self.network.scheduler.at(0, self.process, self.broken, (status,))

    def _send_end(self, act: "Callable[[End], None]") -> None:
        self._put(b"", act)

    def _drop_queue(self) -> None:
        self._queue.clear()
        self.queued_bytes = 0

    # Hearing

    def accept(self, accept: Accept | None) -> None:
        """The server hears of the call."""
        self.accepted = self.other.accepted = True
        if accept is None:
            self.finish(Status(Code.UNIMPLEMENTED, f"no such method: {self.method}"))
            return
        try:
            self.handler = accept(self)
        except RingmillError as error:
            self.finish(Status(error.code, error.message))

    def connect_late(self) -> None:
        """The dialler gives up a connection that was never made."""
        if not self.accepted and self.is_open:
            self.outgoing.cut_off = True
            self.outgoing.waiting.clear()
            self.other.is_open = False
            self.broken(Status(Code.UNAVAILABLE, f"cannot connect to {self.peer}"))

    def receive(self, message: Message) -> None:
        """Something has come."""
        if not self.is_open:
            return
        if self._paused and message.act is not _BROKEN:
            self._unread.append(message)
        else:
            self._hear(message)

    def _hear(self, message: Message) -> None:
        self.other.outgoing.bytes -= len(message.data)
        if message.act is not None:
            message.act(self)
        elif self._finishing is None or self.dialled:
            self._guarded(self.handler.on_message, message.data)

    def _read_on(self) -> None:
        while self._unread and not self._paused and self.is_open:
            self._hear(self._unread.popleft())

    def half_closed(self) -> None:
        """The other side sends nothing more."""
        if self._finishing is None:
            self._guarded(self.handler.on_half_close)

    def broken(self, status: Status) -> None:
        """The stream is over, for this side."""
        if not self.is_open:
            return
        self.is_open = False
        self.writing = False
        self._drop_queue()
        self._unread.clear()
        handler, self.handler = self.handler, UNHEARD
        self.network.forget(self)
        handler.on_close(status)

    def _guarded(self, call: Callable[..., None], *args: bytes) -> None:
        """A RingmillError that a handler raises ends its call; anything else is a defect, and ends the run."""
        try:
            call(*args)
        except RingmillError as error:
            self._drop_queue()
            if self.dialled:
                self.cancel()
            else:
                self.writing = False
                self.finish(Status(error.code, error.message))


def _BROKEN(end: End) -> None:  # noqa: N802  (a constant: what a process leaves when it dies)
    end.broken(Status(Code.UNAVAILABLE if end.dialled else Code.CANCELLED, "the other process died"))


class _Timer:
    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class VirtualServer:
    """Listens for calls."""

    def __init__(self, loop: "VirtualLoop", routes: dict[str, Accept]) -> None:
        self.stopped = False
        self._loop = loop
        self._routes = routes

    def listen(self, address: str, tls: ServerTls | None = None) -> int:
        self._loop.network.listen(address, self._loop.process, self._routes)
        return int(address.rpartition(":")[2])

    def start(self) -> None:
        """Calls are accepted from the moment of listening."""

    def stop(self, grace_s: float = 0.0) -> None:
        self.stopped = True


class VirtualChannel:
    """Dials one address."""

    def __init__(self, loop: "VirtualLoop", target: str) -> None:
        self._loop = loop
        self._target = target
        self._open: list[End] = []

    def open(self, method: str, handler: StreamHandler, metadata: Metadata = (), timeout_s: float | None = None) -> End:
        end = self._loop.network.connect(self._loop.process, self._target, method, handler, metadata)
        self._open = [each for each in self._open if each.is_open]
        self._open.append(end)
        return end

    def close(self) -> None:
        for end in self._open:
            end.cancel()


class VirtualLoop:
    """The transport's loop for one process: callbacks run in virtual time."""

    name = "virtual"

    def __init__(self, network: Network, process: Process) -> None:
        self.network = network
        self.process = process
        self.stopped = False

    def server(self, routes: dict[str, Accept], limits: Limits | None = None) -> VirtualServer:
        return VirtualServer(self, routes)

    def channel(self, target: str, tls: ClientTls | None = None, limits: Limits | None = None) -> VirtualChannel:
        return VirtualChannel(self, target)

    def call_soon(self, callback: Callable[[], None]) -> None:
        self.network.scheduler.at(0, self.process, callback, (), True)

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> _Timer:
        timer = _Timer()
        self.network.scheduler.at(int(delay_s * SECOND_NS), self.process, _run, (timer, callback), True)
        return timer

    def run(self) -> None:
        raise NotImplementedError("virtual time runs by itself")

    def run_until(self, done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        raise NotImplementedError("virtual time runs by itself")

    def stop(self) -> None:
        self.stopped = True


def _run(timer: _Timer, callback: Callable[[], None]) -> None:
    if not timer.cancelled:
        callback()


def open_streams(network: Network) -> Sequence[End]:
    """The dialling ends of all streams that are open on both sides."""
    return [end for end in network.streams if end.is_open and end.other.is_open]
