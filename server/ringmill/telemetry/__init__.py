"""OpenTelemetry metrics and traces behind a small interface. Nothing is recorded for single events; off costs nothing.

In the order of use: `Telemetry.start`, then `watch` with the process's `Counts`, `stages` for latencies, `span` for
batches of a sampled trace, and `stop`.
"""

from ringmill.telemetry.counts import Counts, ProxyFigures, Stage, StageTimes
from ringmill.telemetry.facade import NO_SPAN, Snapshot, Span, Telemetry, TelemetryConfig
from ringmill.telemetry.names import PROCESS, ROUTE

__all__ = [
    "NO_SPAN",
    "PROCESS",
    "ROUTE",
    "Counts",
    "ProxyFigures",
    "Snapshot",
    "Span",
    "Stage",
    "StageTimes",
    "Telemetry",
    "TelemetryConfig",
]
