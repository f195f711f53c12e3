"""The worker around its lanes: readiness, draining, and its own port."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ringmill.core.agreement import StreamLimits
from ringmill.core.errors import Code, RingmillError
from ringmill.server.adapters.service import SERVICE, ProcessingService
from ringmill.server.config import WorkerConfig
from ringmill.server.main import Worker
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
    worker = Worker(config, [], 0.0, Telemetry.off())
    view: Any = SimpleNamespace(version=1, partitions=config.partitions, owned=lambda _name: np.ones(1, np.uint8))
    worker._obey(view)
    assert json.loads(capsys.readouterr().out)["event"] == "ready"
    worker._drain()
    worker._obey(view)
    assert capsys.readouterr().out == ""


def test_a_request_to_describe_that_does_not_parse() -> None:
    service = ProcessingService([], StreamLimits(), lambda: 0)
    stream: Any = Stream()
    handler = service.routes()[f"/{SERVICE}/DescribePipeline"](stream)
    handler.on_message(b"\xff")
    with pytest.raises(RingmillError) as problem:
        handler.on_half_close()
    assert problem.value.code is Code.INVALID_ARGUMENT
