"""Telemetry that is off, or asked for where it is not installed."""

import subprocess
import sys

import pytest

from ringmill.telemetry import NO_SPAN, PROCESS, Counts, Stage, Telemetry, TelemetryConfig

SAMPLED = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def run_python(code: str) -> str:
    """Runs code in a fresh interpreter, whose imports nothing has touched."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_off_remembers_nothing() -> None:
    telemetry = Telemetry.off()
    telemetry.watch(lambda: {"flights": Counts()})
    times = telemetry.stages("flights")
    times.record(Stage.TOTAL, 1000)
    assert not telemetry.enabled
    assert not any(any(row) for row in times.buckets)
    assert telemetry.span(PROCESS, "flights", SAMPLED) is NO_SPAN
    telemetry.stop()


def test_off_imports_nothing_of_opentelemetry() -> None:
    code = """
import sys
from ringmill.telemetry import PROCESS, Telemetry
telemetry = Telemetry.start("ringmill-worker")
telemetry.span(PROCESS, "flights", "").end(1, 0)
telemetry.stop()
print([name for name in sys.modules if name.startswith(("opentelemetry", "prometheus_client", "grpc"))])
"""
    assert run_python(code) == "[]"


def test_missing_packages_are_named_with_the_extra() -> None:
    code = """
import sys
sys.modules["opentelemetry.sdk"] = None
from ringmill.core.errors import RingmillError
from ringmill.telemetry import Telemetry, TelemetryConfig
try:
    Telemetry.start("ringmill-worker", TelemetryConfig(otlp=True))
except RingmillError as error:
    print(error)
"""
    assert "pip install 'ringmill[telemetry]'" in run_python(code)


@pytest.mark.parametrize(
    ("environment", "otlp"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4317"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_the_environment_turns_otlp_on(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], otlp: bool
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert TelemetryConfig.from_environment().otlp is otlp
