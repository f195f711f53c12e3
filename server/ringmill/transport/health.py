"""The health service that load balancers and probes ask (grpc.health.v1; grpc/doc/health-checking.md)."""

from grpc_health.v1 import health_pb2

from ringmill.core.errors import Code, RingmillError
from ringmill.transport.api import Accept, Status, Stream, StreamHandler
from ringmill.transport.unary import parse, unary_message

SERVICE = "grpc.health.v1.Health"

NAME_MAX = 255
"""Letters of a service's name: it is kept as long as somebody watches it."""

_State = int
_SERVING: _State = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING: _State = health_pb2.HealthCheckResponse.NOT_SERVING
_SERVICE_UNKNOWN: _State = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """Says of each service whether it serves; the empty name stands for the whole server."""

    def __init__(self) -> None:
        self._states: dict[str, _State] = {"": _NOT_SERVING}
        self._watchers: dict[str, set[_Watcher]] = {}

    def set_serving(self, service: str, serving: bool) -> None:
        """Changes a service's state and tells who watches it. Call it in turn with the handlers."""
        state = _SERVING if serving else _NOT_SERVING
        if self._states.get(service) == state:
            return
        self._states[service] = state
        for watcher in tuple(self._watchers.get(service, ())):
            watcher.tell(state)

    def routes(self) -> dict[str, Accept]:
        """The methods of the service, to add to a server."""
        return {
            f"/{SERVICE}/Check": unary_message(health_pb2.HealthCheckRequest, self._check),
            f"/{SERVICE}/List": unary_message(health_pb2.HealthListRequest, self._list),
            f"/{SERVICE}/Watch": self._accept_watch,
        }

    def watch(self, service: str, watcher: "_Watcher") -> None:
        """Tells a watcher the state of a service now and at every change."""
        self._watchers.setdefault(service, set()).add(watcher)
        watcher.tell(self._states.get(service, _SERVICE_UNKNOWN))

    def forget(self, service: str, watcher: "_Watcher") -> None:
        """Tells a watcher no more."""
        watchers = self._watchers.get(service, set())
        watchers.discard(watcher)
        if not watchers:
            self._watchers.pop(service, None)

    def _check(self, request: health_pb2.HealthCheckRequest) -> health_pb2.HealthCheckResponse:
        state = self._states.get(request.service)
        if state is None:
            raise RingmillError(Code.NOT_FOUND, f"unknown service {request.service!r}")
        return health_pb2.HealthCheckResponse(status=state)

    def _list(self, _request: health_pb2.HealthListRequest) -> health_pb2.HealthListResponse:
        statuses = {name: health_pb2.HealthCheckResponse(status=state) for name, state in self._states.items()}
        return health_pb2.HealthListResponse(statuses=statuses)

    def _accept_watch(self, stream: Stream) -> StreamHandler:
        return _Watcher(stream, self)


class _Watcher:
    """One Watch call: hears the state at once and at every change, the newest where it reads slowly."""

    def __init__(self, stream: Stream, health: Health) -> None:
        self._stream = stream
        self._health = health
        self._service: str | None = None
        self._state: _State | None = None

    def tell(self, state: _State) -> None:
        """Sends a state, after the write in flight if there is one."""
        self._state = state
        if not self._stream.writing:
            self.on_drain()

    def on_message(self, message: bytes) -> None:
        """Begins to watch."""
        if self._service is not None:
            raise RingmillError(Code.INVALID_ARGUMENT, "Watch takes one request, not several")
        service = parse(health_pb2.HealthCheckRequest, message).service
        if len(service) > NAME_MAX:
            raise RingmillError(
                Code.INVALID_ARGUMENT, f"a name of {len(service)} letters; services have {NAME_MAX} at most"
            )
        self._service = service
        self._health.watch(service, self)

    def on_half_close(self) -> None:
        """Goes on: the client half-closes after its request."""

    def on_drain(self) -> None:
        """Sends what has changed meanwhile."""
        if self._state is not None:
            state, self._state = self._state, None
            self._stream.send(health_pb2.HealthCheckResponse(status=state).SerializeToString())

    def on_close(self, status: Status) -> None:
        """Stops watching."""
        if self._service is not None:
            self._health.forget(self._service, self)
