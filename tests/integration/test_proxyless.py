"""gRPC clients without a proxy: they ask the same control plane, and find the balancers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.integration.envoy_lab import ROUTER, Lab

CLIENT = """
import sys
import grpc
from ringmill.v1.processing_pb2 import ProcessRequest
from ringmill.v1.processing_pb2_grpc import ProcessingServiceStub

with grpc.insecure_channel("xds:///ringmill") as channel:
    stub = ProcessingServiceStub(channel)
    for line in sys.stdin:
        try:
            print(next(stub.Process(iter([ProcessRequest()]), timeout=10)).stream.version, flush=True)
        except grpc.RpcError as error:
            print(error.code().name, error.details(), flush=True)
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    made = Lab()
    try:
        yield made
        assert not made.desk.counts.refused
    finally:
        made.close()


def bootstrap(xds: str) -> str:
    """What tells gRPC where its control plane is."""
    server = {
        "server_uri": xds,
        "channel_creds": [{"type": "insecure"}],
        "server_features": ["xds_v3"],
    }
    return json.dumps({"xds_servers": [server], "node": {"id": "client"}})


def test_a_client_finds_the_balancers(lab: Lab) -> None:
    environment = {**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": bootstrap(lab.xds)}
    words = [sys.executable, "-c", CLIENT]
    with subprocess.Popen(
        words, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        for _ in range(3):
            client.stdin.write("go\n")
            assert client.stdout.readline().strip() == ROUTER
        client.stdin.close()
        assert client.wait(30) == 0
    assert lab.desk.counts.responses["Cluster"] == 1
