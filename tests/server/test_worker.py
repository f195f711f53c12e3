"""The worker around its lanes: readiness, draining, and its own port."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from ringmill.core.agreement import StreamLimits
from ringmill.core.errors import Code, RingmillError
from ringmill.server.adapters.service import SERVICE, ProcessingService
from ringmill.server.config import WorkerConfig
from ringmill.server.main import Worker, toolchain
from ringmill.telemetry import Telemetry


class Stream:
    """Keeps what is sent."""

    method = "method"
    metadata = ()

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.sent.append(message)


def test_a_view_does_not_make_a_draining_worker_ready(capsys: pytest.CaptureFixture[str]) -> None:
    config = WorkerConfig(app=Path("app.py"), join="127.0.0.1:1", transport="cq")
    worker = Worker(config, [], None, 0.0, Telemetry.off())
    worker._announce()
    assert json.loads(capsys.readouterr().out)["event"] == "ready"
    worker._drain()
    worker._announce()
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("drain_s", "stops"), [(None, False), (0.05, True)])
def test_sigterm_waits_for_whoever_takes_what_is_held_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, drain_s: float | None, stops: bool
) -> None:
    config = WorkerConfig(app=Path("app.py"), join="127.0.0.1:1", transport="cq", drain_s=drain_s)
    worker = Worker(config, [], None, 0.0, Telemetry.off())
    host, loop = Mock(), Mock()
    monkeypatch.setattr(worker, "_host", host)
    monkeypatch.setattr(worker, "_loop", loop)
    worker._ready = True
    worker._drain()
    host.leave.assert_called_once_with()
    assert loop.call_later.called is stops
    loop.stop.assert_not_called()
    worker._drain()
    loop.stop.assert_called_once_with()


def test_a_worker_of_a_cluster_takes_no_events_from_callers() -> None:
    service = ProcessingService([], StreamLimits(), lambda: 0, joined=True)
    stream: Any = Stream()
    for method in ("Process", "ProcessBatch"):
        with pytest.raises(RingmillError) as problem:
            service.routes()[f"/{SERVICE}/{method}"](stream)
        assert problem.value.code is Code.FAILED_PRECONDITION


def test_an_address_that_no_one_can_dial_is_not_told() -> None:
    config = WorkerConfig(app=Path("app.py"), join="127.0.0.1:1", peer_listen="0.0.0.0:7")
    with pytest.raises(RingmillError, match="--peer-advertise"):
        config.validate()
    replace(config, peer_advertise="worker-7:7").validate()


def test_the_toolchain_names_what_results_depend_on() -> None:
    assert all(word in toolchain() for word in ("numba ", "llvmlite ", "libc"))
    assert toolchain() == toolchain()


def test_a_request_to_describe_that_does_not_parse() -> None:
    service = ProcessingService([], StreamLimits(), lambda: 0)
    stream: Any = Stream()
    handler = service.routes()[f"/{SERVICE}/DescribePipeline"](stream)
    handler.on_message(b"\xff")
    with pytest.raises(RingmillError) as problem:
        handler.on_half_close()
    assert problem.value.code is Code.INVALID_ARGUMENT
