"""The client's compiled codec."""

import subprocess
import sys

import pytest

from ringmill.client.codec import OutcomeColumns
from ringmill.client.errors import ClientError
from ringmill.client.schema import Schema
from ringmill.v1 import processing_pb2 as pb

_PROGRAM = """
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from ringmill.client.codec import load_codec

sys.setswitchinterval(1e-5)
together = threading.Barrier(8)
with ThreadPoolExecutor(8) as pool:
    for done in [pool.submit(lambda: (together.wait(), load_codec())) for _ in range(8)]:
        done.result()
"""


def test_threads_may_load_it_at_once() -> None:
    # In a process of its own, because here other tests have loaded it already.
    ended = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, text=True, check=False, timeout=120)
    assert ended.returncode == 0, ended.stderr


def test_a_response_whose_receipt_does_not_parse_is_a_client_error() -> None:
    schema = Schema.of("p", pb.DescribePipelineResponse())
    with pytest.raises(ClientError, match="does not parse"):
        OutcomeColumns.allocate(schema, 0).decode(b"\x1a\x01\xff", 0, 0)
