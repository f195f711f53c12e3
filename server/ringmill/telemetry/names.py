"""Every metric and span that Ringmill emits, by name: the one place where names live. docs/telemetry.md lists the same.

Names, units and attributes follow OpenTelemetry's semantic conventions: lower case, dots between namespaces, units in
UCUM with what is counted in braces, durations in seconds.
"""

import enum
from dataclasses import dataclass

SCOPE = "ringmill"
"""Name of the instrumentation scope."""


class Attribute(enum.StrEnum):
    """Keys of attributes. There is none for an event's key or fields: they are the users' data and stay out."""

    PIPELINE = "ringmill.pipeline"
    REASON = "ringmill.reason"
    STAGE = "ringmill.stage"
    EVENTS = "ringmill.events"
    REJECTED = "ringmill.rejected"
    TYPE = "ringmill.xds.type"


class Kind(enum.StrEnum):
    """How a metric behaves over time."""

    COUNTER = "counter"
    UP_DOWN_COUNTER = "up-down counter"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric as OpenTelemetry describes it."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[Attribute, ...] = (Attribute.PIPELINE,)


@dataclass(frozen=True, slots=True)
class SpanKind:
    """One kind of span: its name and who begins it."""

    name: str
    description: str
    attributes: tuple[Attribute, ...] = (Attribute.PIPELINE, Attribute.EVENTS, Attribute.REJECTED)


EVENTS = Metric("ringmill.events", Kind.COUNTER, "{event}", "Events answered, rejected ones included")
BATCHES = Metric("ringmill.batches", Kind.COUNTER, "{batch}", "Batches answered")
REJECTIONS = Metric(
    "ringmill.rejections",
    Kind.COUNTER,
    "{event}",
    "Events rejected, by reason",
    (Attribute.PIPELINE, Attribute.REASON),
)
IN_FLIGHT = Metric("ringmill.in_flight", Kind.UP_DOWN_COUNTER, "{batch}", "Batches taken and not yet answered")
QUEUE_DEPTH = Metric(
    "ringmill.queue.depth", Kind.UP_DOWN_COUNTER, "{batch}", "Batches that wait for work or for a link"
)
KEYS = Metric("ringmill.keys", Kind.UP_DOWN_COUNTER, "{key}", "Keys that hold state")
STATE_SIZE = Metric("ringmill.state.size", Kind.UP_DOWN_COUNTER, "By", "Bytes of state, keys and indexes included")
STAGE_DURATION = Metric(
    "ringmill.stage.duration",
    Kind.HISTOGRAM,
    "s",
    "Time that a batch spends in a stage",
    (Attribute.PIPELINE, Attribute.STAGE),
)
METRICS = (EVENTS, BATCHES, REJECTIONS, IN_FLIGHT, QUEUE_DEPTH, KEYS, STATE_SIZE, STAGE_DURATION)

XDS_STREAMS = Metric(
    "ringmill.xds.streams", Kind.UP_DOWN_COUNTER, "{stream}", "Proxies and clients that are told of changes", ()
)
XDS_RESPONSES = Metric(
    "ringmill.xds.responses", Kind.COUNTER, "{response}", "Configurations sent, by type", (Attribute.TYPE,)
)
XDS_REFUSALS = Metric(
    "ringmill.xds.refusals",
    Kind.COUNTER,
    "{response}",
    "Configurations that were not taken; the log says why",
    (Attribute.TYPE,),
)
XDS_FAULTS = Metric(
    "ringmill.xds.faults", Kind.COUNTER, "{view}", "Views without a sound configuration; proxies keep the last", ()
)
XDS_METRICS = (XDS_STREAMS, XDS_RESPONSES, XDS_REFUSALS, XDS_FAULTS)
"""What a balancer adds that is a control plane for proxies."""

ROUTE = SpanKind("ringmill.route", "A batch in the balancer, from its arrival until its answer is handed to the client")
PROCESS = SpanKind("ringmill.process", "A batch, or a worker's part of one, in the worker: decode, apply and encode")
SPANS = (ROUTE, PROCESS)
