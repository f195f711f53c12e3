"""The interface that workers and balancers see. Off, it does nothing and imports nothing of OpenTelemetry."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ringmill.core.errors import Code, RingmillError
from ringmill.telemetry.counts import Counts, NoTimes, ProxyFigures, StageTimes
from ringmill.telemetry.names import SpanKind

Snapshot = Callable[[], Mapping[str, Counts]]
"""Gives the figures by pipeline. Called from an exporter's thread, so it only reads; never from the data path."""

_OTLP_VARIABLES = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
)


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """What to export, and where."""

    prometheus_port: int | None = None
    """Port for Prometheus to scrape, on loopback only; 0: any free one; None: no endpoint."""
    otlp: bool = False
    """Whether to push metrics and traces by OTLP over gRPC. The SDK reads the endpoint, headers, certificates and
    intervals from the standard OTEL_* variables."""
    instance: str = ""
    """Name of this process among those of its service: the worker's name. Empty: not told."""

    @classmethod
    def from_environment(cls, prometheus_port: int | None = None, instance: str = "") -> "TelemetryConfig":
        """Turns OTLP on where an OTEL_EXPORTER_OTLP_*ENDPOINT is set and OTEL_SDK_DISABLED is not true."""
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return cls()
        otlp = any(os.environ.get(name) for name in _OTLP_VARIABLES)
        return cls(prometheus_port, otlp, instance)


class Span:
    """One batch of a sampled trace. This one records nothing: most batches carry no sampled trace context."""

    recording: bool = False
    traceparent: str = ""
    """What to send to the next process so that its span becomes this one's child; empty: send what the client sent."""

    def end(self, events: int, rejected: int, error: str | None = None) -> None:
        """Closes the span with the batch's size. error: why the batch got no answer, free of users' data."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Marks a span failed that an exception left open."""


NO_SPAN = Span()


class Telemetry:
    """Telemetry that is off; `start` gives the one that is on. No call here is made for each event."""

    enabled: bool = False
    """Whether anything is exported: reading a clock only for telemetry is worth it only then."""
    prometheus_port: int | None = None
    """The port that Prometheus can scrape."""

    @staticmethod
    def off() -> "Telemetry":
        """Gives telemetry that does nothing."""
        return Telemetry()

    @staticmethod
    def start(service_name: str, config: TelemetryConfig | None = None) -> "Telemetry":
        """Starts exporting; gives `off()` where nothing is asked for (by default the environment says).

        service_name: "ringmill-worker" or "ringmill-balancer": service.name of the OpenTelemetry resource.
        Raises RingmillError when the packages are missing, the port is taken, or the endpoint cannot be understood.
        """
        asked = TelemetryConfig.from_environment() if config is None else config
        if asked.prometheus_port is None and not asked.otlp:
            return Telemetry.off()
        try:
            from ringmill.telemetry import sdk
        except ModuleNotFoundError as error:
            raise RingmillError(
                Code.FAILED_PRECONDITION,
                f"telemetry was asked for but {error.name} is not installed: pip install 'ringmill[telemetry]'",
            ) from error
        return sdk.start(service_name, asked)

    def watch(self, snapshot: Snapshot) -> None:
        """Names the source of the figures. Call it once, when the figures exist."""

    def watch_proxies(self, read: Callable[[], ProxyFigures]) -> None:
        """Names the source of the control plane's figures. Call it once, where there is one."""

    def stages(self, pipeline: str) -> StageTimes:
        """Gives the latency histograms of a pipeline. Keep the result: it is not for asking anew with each batch."""
        return NoTimes()

    def span(self, kind: SpanKind, pipeline: str, traceparent: str) -> Span:
        """Begins the span of a batch under the client's W3C trace context.

        traceparent: as in the batch's field or the stream's metadata; empty, malformed or not sampled: no span.
        """
        return NO_SPAN

    def stop(self) -> None:
        """Sends what is still held back, and closes the endpoint. Waits a few seconds at most."""
