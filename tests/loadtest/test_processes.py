"""Processes of the benchmark: started, commanded, and gone afterwards."""

import os
import sys

import pytest

from ringmill.loadtest.processes import Process, ProcessFailedError, peer, spread


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("kind", ["tcp", "stock", "ours"])
def test_a_client_measures_its_server_and_both_are_gone_afterwards(kind: str) -> None:
    server = {"tcp": "tcp.server", "stock": "stock.echo_server", "ours": "ours.echo_server"}[kind]
    arguments = {"size": 46} if kind == "tcp" else {}
    with peer(server) as served, peer(f"{kind}.client", served.ready["address"]) as client:
        answer = client.do("round_trip", count=20, **arguments)
        pids = [served.pid, client.pid]
    assert 0 < answer["p50_us"] <= answer["p99_us"]
    assert not any(is_running(pid) for pid in pids)


@pytest.mark.parametrize("server", ["stock.echo_server", "stock.hand_written_server", "ours.echo_server"])
@pytest.mark.parametrize("kind", ["stock.client", "ours.client"])
def test_a_stream_of_batches_comes_back_whole(server: str, kind: str) -> None:
    with peer(server) as served, peer(kind, served.ready["address"]) as client:
        for _ in range(2):  # what one measurement left behind would spoil the next
            assert client.do("stream", count=10, size=8, key_count=5, in_flight=4)["messages_s"] > 0


def test_an_open_loop_offers_every_event_once() -> None:
    with peer("ours.echo_server") as served, peer("ours.open_loop", served.ready["address"]) as client:
        for seed in range(2):
            answer = client.do("offer", rate=20_000.0, seconds=0.05, in_flight=2, key_count=10, seed=seed)
            assert answer["events"] == 1000
            assert 1 <= answer["requests"] <= 1000
            assert 0 < answer["p50_us"] <= answer["p99_us"] <= answer["max_us"]


def test_a_process_that_fails_says_why() -> None:
    with (
        pytest.raises(ProcessFailedError, match="no such thing"),
        Process([sys.executable, "-c", "raise SystemExit('no such thing')"]) as process,
    ):
        process.wait_ready()


def test_a_process_that_ignores_its_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ringmill.loadtest.processes.STOP_TIMEOUT_S", 0.2)
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('{}', flush=True); time.sleep(60)"
    with Process([sys.executable, "-c", code]) as process:
        process.wait_ready()
    assert not is_running(process.pid)


def test_ends_of_a_connection_are_pinned_to_different_cores() -> None:
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core")
    with peer("tcp.server") as server, peer("tcp.client", server.ready["address"]) as client:
        spread((client,), (server,))
        assert os.sched_getaffinity(client.pid) == {cores[0]}
        assert os.sched_getaffinity(server.pid) == {cores[1]}
