"""Telemetry that is on: OpenTelemetry's SDK, with OTLP over gRPC, a Prometheus endpoint, or both.

Counts are observable instruments whose callbacks read plain integers when somebody collects. OpenTelemetry has no
observable histogram, and Python's SDK has no MetricProducer, so the readers below add the latency histograms, which are
kept in plain integers too, to what the SDK collected (`_receive_metrics` is the method every reader implements).
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from time import time_ns
from types import TracebackType
from typing import Any, cast

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics import export as metrics
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind as OtelSpanKind
from opentelemetry.trace import StatusCode, get_current_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from ringmill.core.errors import Code, Reason, RingmillError
from ringmill.telemetry import names
from ringmill.telemetry.counts import BOUNDS_NS, Counts, ProxyFigures, Stage, StageTimes
from ringmill.telemetry.facade import NO_SPAN, Snapshot, Span, Telemetry, TelemetryConfig
from ringmill.telemetry.names import Attribute, Kind

STOP_TIMEOUT_S = 5.0
_BOUNDS_S = tuple(bound * 1e-9 for bound in BOUNDS_NS)


class StageTable:
    """The latency histograms of all pipelines, as one OpenTelemetry metric."""

    def __init__(self) -> None:
        self._times: dict[str, StageTimes] = {}
        self._started_ns = time_ns()

    def of(self, pipeline: str) -> StageTimes:
        """Gives the histograms of a pipeline, made when first asked for."""
        return self._times.setdefault(pipeline, StageTimes())

    def collect(self) -> metrics.Metric:
        """Copies all histograms that hold something into a metric."""
        now_ns = time_ns()
        points = [point for name, times in list(self._times.items()) for point in self._points(name, times, now_ns)]
        data = metrics.Histogram(points, metrics.AggregationTemporality.CUMULATIVE)
        about = names.STAGE_DURATION
        return metrics.Metric(about.name, about.description, about.unit, data)

    def _points(self, pipeline: str, times: StageTimes, now_ns: int) -> Iterator[metrics.HistogramDataPoint]:
        for stage in Stage:
            buckets = list(times.buckets[stage])
            if not any(buckets):
                continue
            yield metrics.HistogramDataPoint(
                attributes={Attribute.PIPELINE.value: pipeline, Attribute.STAGE.value: stage.name.lower()},
                start_time_unix_nano=self._started_ns,
                time_unix_nano=now_ns,
                count=sum(buckets),
                sum=times.sums_ns[stage] * 1e-9,
                bucket_counts=buckets,
                explicit_bounds=_BOUNDS_S,
                # Optional on the wire, and not worth two comparisons a batch; the SDK's class does not say so.
                min=cast(float, None),
                max=cast(float, None),
            )


class WithStages:
    """Mixed into a metric reader: passes on what the SDK collected with the latency histograms added."""

    def __init__(self, table: StageTable, *args: Any, **options: Any) -> None:
        self._stage_table = table
        super().__init__(*args, **options)

    def _receive_metrics(self, metrics_data: metrics.MetricsData, *args: Any, **options: Any) -> None:
        added = _with_metric(metrics_data, self._stage_table.collect())
        super()._receive_metrics(added, *args, **options)  # type: ignore[misc]  # the reader it is mixed into has it


def _with_metric(data: metrics.MetricsData, metric: metrics.Metric) -> metrics.MetricsData:
    """Adds a metric to the first scope; the readers here have one resource and one scope."""
    if not cast(metrics.Histogram, metric.data).data_points:
        return data
    resource = data.resource_metrics[0]
    scope = resource.scope_metrics[0]
    scope = replace(scope, metrics=[*scope.metrics, metric])
    resource = replace(resource, scope_metrics=[scope, *resource.scope_metrics[1:]])
    return replace(data, resource_metrics=[resource, *data.resource_metrics[1:]])


class PushReader(WithStages, metrics.PeriodicExportingMetricReader):
    """Pushes everything at an interval (OTEL_METRIC_EXPORT_INTERVAL, in milliseconds)."""


class _SdkSpan(Span):
    recording = True

    def __init__(self, span: OtelSpan) -> None:
        self._span = span
        context = span.get_span_context()
        self.traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"

    def end(self, events: int, rejected: int, error: str | None = None) -> None:
        self._span.set_attributes({Attribute.EVENTS.value: events, Attribute.REJECTED.value: rejected})
        if error is not None:
            self._span.set_status(StatusCode.ERROR, error)
        self._span.end()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._span.is_recording():
            return
        if kind is not None:
            # The exception's text may quote a user's data; its type does not.
            self._span.set_status(StatusCode.ERROR, kind.__name__)
        self._span.end()


class SdkTelemetry(Telemetry):
    """Telemetry over the given readers and span processors."""

    enabled = True

    def __init__(
        self,
        resource: Resource,
        table: StageTable,
        readers: Sequence[metrics.MetricReader],
        processors: Sequence[SpanProcessor] = (),
    ) -> None:
        self._table = table
        self._meters = MeterProvider(readers, resource=resource)
        self._tracers = TracerProvider(resource=resource)
        for processor in processors:
            self._tracers.add_span_processor(processor)
        self._tracer = self._tracers.get_tracer(names.SCOPE) if processors else None
        self._propagator = TraceContextTextMapPropagator()
        self._closing = contextlib.ExitStack()

    def watch(self, snapshot: Snapshot) -> None:
        """Makes an instrument for each figure that reads it when somebody collects."""
        meter = self._meters.get_meter(names.SCOPE)
        for metric, read in _READINGS:
            _observe(meter, metric, snapshot, read)

    def watch_proxies(self, read: Callable[[], ProxyFigures]) -> None:
        """Makes an instrument for each figure of the control plane."""
        meter = self._meters.get_meter(names.SCOPE)
        for metric, values in _PROXY_READINGS:
            _observe_proxies(meter, metric, read, values)

    def stages(self, pipeline: str) -> StageTimes:
        """Gives the histograms of a pipeline."""
        return self._table.of(pipeline)

    def span(self, kind: names.SpanKind, pipeline: str, traceparent: str) -> Span:
        """Begins a span where the trace context is sampled."""
        if self._tracer is None or not _sampled(traceparent):
            return NO_SPAN
        parent = self._propagator.extract({"traceparent": traceparent})
        if not get_current_span(parent).get_span_context().is_valid:
            return NO_SPAN
        attributes = {Attribute.PIPELINE.value: pipeline}
        span = self._tracer.start_span(kind.name, parent, kind=OtelSpanKind.SERVER, attributes=attributes)
        return _SdkSpan(span) if span.is_recording() else NO_SPAN

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Runs a callback after the last export."""
        self._closing.callback(callback)

    def stop(self) -> None:
        """Exports what is left and closes everything."""
        self._tracers.shutdown()
        self._meters.shutdown(timeout_millis=STOP_TIMEOUT_S * 1e3)
        self._closing.close()


def _sampled(traceparent: str) -> bool:
    """Looks at the flags alone, so that a batch whose trace is not sampled costs next to nothing."""
    return len(traceparent) >= 55 and traceparent[54] in "13579bdf"


Read = Callable[[Counts], Iterable[tuple[int | None, dict[str, str]]]]


def _rejections(counts: Counts) -> Iterator[tuple[int, dict[str, str]]]:
    for reason in Reason:
        if counts.rejected[reason]:
            yield counts.rejected[reason], {Attribute.REASON.value: reason.name}


_READINGS: tuple[tuple[names.Metric, Read], ...] = (
    (names.EVENTS, lambda counts: [(counts.events, {})]),
    (names.BATCHES, lambda counts: [(counts.batches, {})]),
    (names.REJECTIONS, _rejections),
    (names.IN_FLIGHT, lambda counts: [(counts.in_flight, {})]),
    (names.QUEUE_DEPTH, lambda counts: [(counts.queue_depth, {})]),
    (names.KEYS, lambda counts: [(counts.keys, {})]),
    (names.STATE_SIZE, lambda counts: [(counts.state_bytes, {})]),
)


def _by_type(counts: Mapping[str, int]) -> list[tuple[int, dict[str, str]]]:
    return [(count, {Attribute.TYPE.value: kind}) for kind, count in counts.items()]


ReadProxies = Callable[[ProxyFigures], Iterable[tuple[int, dict[str, str]]]]

_PROXY_READINGS: tuple[tuple[names.Metric, ReadProxies], ...] = (
    (names.XDS_STREAMS, lambda figures: [(figures.streams, {})]),
    (names.XDS_RESPONSES, lambda figures: _by_type(figures.responses)),
    (names.XDS_REFUSALS, lambda figures: _by_type(figures.refusals)),
    (names.XDS_FAULTS, lambda figures: [(figures.faults, {})]),
)


def _observe(meter: Meter, metric: names.Metric, snapshot: Snapshot, read: Read) -> None:
    def callback(_: CallbackOptions) -> Iterable[Observation]:
        for pipeline, counts in snapshot().items():
            for value, attributes in read(counts):
                if value is not None:
                    yield Observation(value, {Attribute.PIPELINE.value: pipeline, **attributes})

    _create(meter, metric, callback)


def _observe_proxies(meter: Meter, metric: names.Metric, read: Callable[[], ProxyFigures], values: ReadProxies) -> None:
    def callback(_: CallbackOptions) -> Iterable[Observation]:
        return [Observation(value, attributes) for value, attributes in values(read())]

    _create(meter, metric, callback)


def _create(meter: Meter, metric: names.Metric, callback: Callable[[CallbackOptions], Iterable[Observation]]) -> None:
    counter = metric.kind is Kind.COUNTER
    create = meter.create_observable_counter if counter else meter.create_observable_up_down_counter
    create(metric.name, [callback], metric.unit, metric.description)


def start(service_name: str, config: TelemetryConfig) -> Telemetry:
    """Starts the exporters that the configuration asks for; the interface is `Telemetry.start`."""
    table = StageTable()
    readers: list[metrics.MetricReader] = []
    processors: list[SpanProcessor] = []
    with contextlib.ExitStack() as undo:
        port = None
        if config.prometheus_port is not None:
            reader, port, close = _prometheus(table, config.prometheus_port)
            undo.callback(close)
            readers.append(reader)
        if config.otlp:
            reader, processor = _otlp(table)
            readers.append(reader)
            processors.append(processor)
        telemetry = SdkTelemetry(_resource(service_name, config.instance), table, readers, processors)
        telemetry.prometheus_port = port
        telemetry.on_stop(undo.pop_all().close)
    return telemetry


def _resource(service_name: str, instance: str) -> Resource:
    attributes = {"service.version": version("ringmill")}
    if not os.environ.get("OTEL_SERVICE_NAME"):
        attributes["service.name"] = service_name
    if instance:
        attributes["service.instance.id"] = instance
    return Resource.create(attributes)


def _prometheus(table: StageTable, port: int) -> tuple[metrics.MetricReader, int, Callable[[], None]]:
    """Listens on loopback: figures are for whoever runs the machine; a wider audience goes through a proxy or OTLP."""
    from opentelemetry.exporter.prometheus import PrometheusMetricReader
    from prometheus_client import CollectorRegistry, start_http_server

    class ScrapedReader(WithStages, PrometheusMetricReader):
        """Collects when Prometheus asks."""

    registry = CollectorRegistry()
    try:
        server, _ = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise RingmillError(
            Code.UNAVAILABLE, f"the Prometheus endpoint cannot listen on 127.0.0.1:{port}: {error.strerror}"
        ) from error

    def close() -> None:
        server.shutdown()
        server.server_close()

    return ScrapedReader(table, registry=registry), server.server_port, close


def _otlp(table: StageTable) -> tuple[metrics.MetricReader, SpanProcessor]:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    if protocol != "grpc":
        raise RingmillError(
            Code.INVALID_ARGUMENT, f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol!r}: only 'grpc' is served"
        )
    from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return PushReader(table, OTLPMetricExporter()), BatchSpanProcessor(OTLPSpanExporter())
