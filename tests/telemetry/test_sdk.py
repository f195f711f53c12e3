"""What readers and span exporters of OpenTelemetry's own SDK receive."""

import socket
import urllib.request
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from prometheus_client.parser import text_string_to_metric_families

from ringmill.core.errors import Reason, RingmillError
from ringmill.telemetry import NO_SPAN, PROCESS, ROUTE, Counts, ProxyFigures, Stage, Telemetry, TelemetryConfig, names
from ringmill.telemetry.sdk import SdkTelemetry, StageTable, WithStages

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
UNSAMPLED = SAMPLED[:-2] + "00"


class MemoryReader(WithStages, InMemoryMetricReader):
    pass


class Memory:
    """Telemetry into memory, and what arrived there."""

    def __init__(self) -> None:
        table = StageTable()
        self.reader = MemoryReader(table)
        self.spans = InMemorySpanExporter()
        self.telemetry = SdkTelemetry(Resource.create({}), table, [self.reader], [SimpleSpanProcessor(self.spans)])

    def points(self) -> dict[str, dict[tuple[tuple[str, Any], ...], Any]]:
        """Collects: metric -> attributes -> data point."""
        data = self.reader.get_metrics_data()
        assert data is not None
        (resource,) = data.resource_metrics
        (scope,) = resource.scope_metrics
        return {
            metric.name: {tuple(sorted(point.attributes.items())): point for point in metric.data.data_points}
            for metric in scope.metrics
        }


@pytest.fixture
def memory() -> Iterator[Memory]:
    made = Memory()
    yield made
    made.telemetry.stop()


def worked_counts() -> Counts:
    counts = Counts(events=100, batches=7, in_flight=3, queue_depth=2, keys=40, state_bytes=4096)
    counts.rejected[Reason.KEY_INVALID] = 5
    counts.rejected[Reason.OVERLOADED] = 1
    return counts


def test_counts_are_read_when_somebody_collects(memory: Memory) -> None:
    counts = worked_counts()
    memory.telemetry.watch(lambda: {"flights": counts})
    key = (("ringmill.pipeline", "flights"),)
    assert memory.points()["ringmill.events"][key].value == 100
    counts.events = 250
    points = memory.points()
    assert {name: points[name][key].value for name in points if name != "ringmill.rejections"} == {
        "ringmill.events": 250,
        "ringmill.batches": 7,
        "ringmill.in_flight": 3,
        "ringmill.queue.depth": 2,
        "ringmill.keys": 40,
        "ringmill.state.size": 4096,
    }


def test_rejections_are_told_apart_by_reason(memory: Memory) -> None:
    memory.telemetry.watch(lambda: {"flights": worked_counts()})
    rejections = memory.points()["ringmill.rejections"]
    assert {dict(key)["ringmill.reason"]: point.value for key, point in rejections.items()} == {
        "KEY_INVALID": 5,
        "OVERLOADED": 1,
    }


def test_a_balancer_reports_no_keys(memory: Memory) -> None:
    memory.telemetry.watch(lambda: {"flights": Counts(events=1)})
    assert not {"ringmill.keys", "ringmill.state.size"} & memory.points().keys()


def test_a_pipeline_that_comes_later_is_reported(memory: Memory) -> None:
    figures = {"flights": Counts(events=1)}
    memory.telemetry.watch(lambda: figures)
    memory.points()
    figures["trades"] = Counts(events=2)
    assert memory.points()["ringmill.events"][("ringmill.pipeline", "trades"),].value == 2


def test_latencies_fall_into_the_buckets_below_their_bounds(memory: Memory) -> None:
    memory.telemetry.watch(lambda: {"flights": Counts()})
    times = memory.telemetry.stages("flights")
    for duration_ns in (900, 1000, 1001, 7_000_000_000):
        times.record(Stage.DECODE, duration_ns)
    point = memory.points()["ringmill.stage.duration"][("ringmill.pipeline", "flights"), ("ringmill.stage", "decode")]
    filled = {index: count for index, count in enumerate(point.bucket_counts) if count}
    assert filled == {0: 2, 1: 1, len(point.explicit_bounds): 1}
    assert point.explicit_bounds[:3] == pytest.approx([1e-6, 2e-6, 5e-6])
    assert point.count == 4
    assert point.sum == pytest.approx(7.000002901)


def test_each_stage_has_its_own_histogram(memory: Memory) -> None:
    memory.telemetry.watch(lambda: {"flights": Counts()})
    times = memory.telemetry.stages("flights")
    for stage in Stage:
        times.record(stage, 1000)
    found = {dict(key)["ringmill.stage"] for key in memory.points()["ringmill.stage.duration"]}
    assert found == {"decode", "apply", "encode", "route", "queue", "total"}


def test_stages_of_a_pipeline_are_the_same_histograms_again(memory: Memory) -> None:
    assert memory.telemetry.stages("flights") is memory.telemetry.stages("flights")


def test_a_sampled_batch_gets_a_span_under_the_clients(memory: Memory) -> None:
    with memory.telemetry.span(PROCESS, "flights", SAMPLED) as span:
        span.end(events=10, rejected=2)
    (got,) = memory.spans.get_finished_spans()
    assert got.name == "ringmill.process"
    assert got.kind is SpanKind.SERVER
    assert got.parent is not None
    assert f"{got.parent.trace_id:032x}-{got.parent.span_id:016x}" == SAMPLED[3:52]
    assert dict(got.attributes or {}) == {
        "ringmill.pipeline": "flights",
        "ringmill.events": 10,
        "ringmill.rejected": 2,
    }


def test_the_workers_span_is_a_child_of_the_balancers(memory: Memory) -> None:
    route = memory.telemetry.span(ROUTE, "flights", SAMPLED)
    memory.telemetry.span(PROCESS, "flights", route.traceparent).end(1, 0)
    route.end(1, 0)
    process, outer = memory.spans.get_finished_spans()
    assert process.parent is not None
    assert process.parent.span_id == outer.context.span_id
    assert process.context.trace_id == outer.context.trace_id


@pytest.mark.parametrize(
    "traceparent",
    ["", "x", UNSAMPLED, SAMPLED.replace("00-0af", "00-xyz"), "00-" + "0" * 32 + SAMPLED[35:], "ff" + SAMPLED[2:]],
)
def test_nothing_is_recorded_without_a_valid_sampled_context(memory: Memory, traceparent: str) -> None:
    with memory.telemetry.span(PROCESS, "flights", traceparent) as span:
        span.end(1, 0)
    assert span is NO_SPAN
    assert not memory.spans.get_finished_spans()


def test_a_failed_batch_marks_its_span_without_the_users_data(memory: Memory) -> None:
    with pytest.raises(ValueError, match="secret"), memory.telemetry.span(PROCESS, "flights", SAMPLED):
        raise ValueError("secret key N14228")
    (got,) = memory.spans.get_finished_spans()
    assert got.status.status_code is StatusCode.ERROR
    assert "N14228" not in got.to_json()


def test_prometheus_scrapes_every_metric() -> None:
    telemetry = Telemetry.start("ringmill-worker", TelemetryConfig(prometheus_port=0, instance="w1"))
    try:
        telemetry.watch(lambda: {"flights": worked_counts()})
        telemetry.stages("flights").record(Stage.APPLY, 3000)
        with urllib.request.urlopen(f"http://127.0.0.1:{telemetry.prometheus_port}/metrics") as answer:
            families = {family.name: family for family in text_string_to_metric_families(answer.read().decode())}
    finally:
        telemetry.stop()
    samples = {s.name: s.value for family in families.values() for s in family.samples if "le" not in s.labels}
    assert samples["ringmill_events_total"] == 100
    assert samples["ringmill_state_size_bytes"] == 4096
    assert samples["ringmill_stage_duration_seconds_count"] == 1
    assert samples["ringmill_stage_duration_seconds_sum"] == pytest.approx(3e-6)
    assert {name.replace(".", "_") for name in (metric.name for metric in names.METRICS)} <= {
        name.removesuffix("_bytes").removesuffix("_seconds") for name in families
    }
    (target,) = families["target_info"].samples
    assert target.labels["service_name"] == "ringmill-worker"
    assert target.labels["service_instance_id"] == "w1"


def test_the_figures_of_a_control_plane_are_read_when_somebody_collects() -> None:
    telemetry = Telemetry.start("ringmill-balancer", TelemetryConfig(prometheus_port=0))
    figures = ProxyFigures(0, {}, {}, 0)
    try:
        telemetry.watch_proxies(lambda: figures)
        figures = ProxyFigures(2, {"Cluster": 3, "Listener": 1}, {"Listener": 1}, 4)
        with urllib.request.urlopen(f"http://127.0.0.1:{telemetry.prometheus_port}/metrics") as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
    finally:
        telemetry.stop()
    samples = {(s.name, s.labels.get("ringmill_xds_type")): s.value for each in families for s in each.samples}
    assert samples["ringmill_xds_streams", None] == 2
    assert samples["ringmill_xds_responses_total", "Cluster"] == 3
    assert samples["ringmill_xds_refusals_total", "Listener"] == 1
    assert samples["ringmill_xds_faults_total", None] == 4


def test_the_prometheus_endpoint_is_closed_by_stop() -> None:
    telemetry = Telemetry.start("ringmill-worker", TelemetryConfig(prometheus_port=0))
    port = telemetry.prometheus_port
    assert port is not None
    telemetry.stop()
    with socket.socket() as free, pytest.raises(ConnectionRefusedError):
        free.connect(("127.0.0.1", port))


def test_a_taken_prometheus_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RingmillError, match=f"127.0.0.1:{port}"):
            Telemetry.start("ringmill-worker", TelemetryConfig(prometheus_port=port))


class Collector(metrics_service_pb2_grpc.MetricsServiceServicer, trace_service_pb2_grpc.TraceServiceServicer):
    """An OTLP endpoint: keeps what it is sent. Both services call their method Export, hence one class with two."""

    def __init__(self) -> None:
        self.received: list[Any] = []

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the name in OTLP
        self.received.append(request)
        if isinstance(request, metrics_service_pb2.ExportMetricsServiceRequest):
            return metrics_service_pb2.ExportMetricsServiceResponse()
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    made = Collector()
    server = grpc.server(futures.ThreadPoolExecutor(1))
    metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(made, server)
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(made, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    yield made
    server.stop(None).wait()


def test_otlp_gets_metrics_and_spans_by_the_standard_variable(collector: Collector) -> None:
    telemetry = Telemetry.start("ringmill-balancer")
    telemetry.watch(lambda: {"flights": worked_counts()})
    telemetry.stages("flights").record(Stage.ROUTE, 40_000)
    telemetry.span(ROUTE, "flights", SAMPLED).end(4096, 0)
    telemetry.stop()
    spans = [r for r in collector.received if isinstance(r, trace_service_pb2.ExportTraceServiceRequest)]
    assert spans[0].resource_spans[0].scope_spans[0].spans[0].name == "ringmill.route"
    pushed = [r for r in collector.received if isinstance(r, metrics_service_pb2.ExportMetricsServiceRequest)]
    (resource,) = pushed[-1].resource_metrics
    assert {a.key: a.value.string_value for a in resource.resource.attributes}["service.name"] == "ringmill-balancer"
    found = {metric.name: metric for metric in resource.scope_metrics[0].metrics}
    assert found.keys() == {metric.name for metric in names.METRICS}
    (point,) = found["ringmill.stage.duration"].histogram.data_points
    assert (point.count, point.sum) == (1, pytest.approx(4e-5))
    assert not point.HasField("max")
    for metric in names.METRICS:
        assert (found[metric.name].unit, found[metric.name].description) == (metric.unit, metric.description)


def test_only_grpc_is_served_for_otlp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    with pytest.raises(RingmillError, match="http/protobuf"):
        Telemetry.start("ringmill-worker", TelemetryConfig(otlp=True))


def test_a_failed_start_leaves_no_endpoint_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    with pytest.raises(RingmillError):
        Telemetry.start("ringmill-worker", TelemetryConfig(prometheus_port=port, otlp=True))
    with socket.create_server(("127.0.0.1", port)):
        pass
