"""`workers`, `scale`, `drain`, `restart`, `explain` and `ledger` against a balancer that only pretends."""

import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from ringmill.balancer.adapters import admin as balancer_admin
from ringmill.cli.admin import move
from ringmill.cli.admin.connect import LOCATED_MAX, Admin
from ringmill.cli.main import main
from ringmill.v1 import admin_pb2 as pb
from ringmill.v1 import admin_pb2_grpc, processing_pb2


class Pretender(admin_pb2_grpc.AdminServiceServicer):
    """Answers what a test puts there, and keeps what it was asked."""

    address = ""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.rows = [
            pb.LedgerRow(partition=7, received=10, applied=6, duplicate=3, rejected=1),
            pb.LedgerRow(partition=2, received=5, applied=5),
        ]
        self.steps = [
            pb.MoveWorkersResponse(total=10, copies=4, text="worker-2 [new] joined"),
            pb.MoveWorkersResponse(moved=10, total=10, copied=4, copies=4, pause_us=3_100),
        ]
        self.ends: tuple[grpc.StatusCode, str] | None = None
        self.listed = pb.ListWorkersResponse(
            epoch=12,
            cluster="c0ffee",
            partitions=1021,
            copies_wanted=2,
            workers=[
                pb.Worker(name="worker-0", state="serving", partitions=511, copies=510, keys=2_100, state_bytes=4096),
                pb.Worker(name="worker-1", state="dead", partitions=510, learning=3, keys=677, state_bytes=4096),
            ],
        )

    def ListWorkers(self, request: Any, context: Any) -> pb.ListWorkersResponse:  # noqa: N802
        return self.listed

    def ExplainKey(self, request: Any, context: Any) -> pb.ExplainKeyResponse:  # noqa: N802
        place = processing_pb2.Location(partition=77, primary="worker-0", replicas=["worker-1"])
        return pb.ExplainKeyResponse(epoch=12, partition_epoch=9, location=place, why="the table names worker-0")

    def GetLedger(self, request: Any, context: Any) -> pb.GetLedgerResponse:  # noqa: N802
        self.asked.append(request)
        asked = set(request.partitions)
        return pb.GetLedgerResponse(rows=[row for row in self.rows if not asked or row.partition in asked])

    def MoveWorkers(self, request: Any, context: Any) -> Iterator[pb.MoveWorkersResponse]:  # noqa: N802
        self.asked.append(request)
        yield from self.steps
        if self.ends is not None:
            context.abort(*self.ends)


@pytest.fixture
def balancer() -> Iterator[Pretender]:
    server = grpc.server(ThreadPoolExecutor(2))
    pretender = Pretender()
    admin_pb2_grpc.add_AdminServiceServicer_to_server(pretender, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    pretender.address = f"127.0.0.1:{port}"
    yield pretender
    server.stop(None)


Capture = pytest.CaptureFixture[str]


def test_workers_are_listed_with_what_they_hold(balancer: Pretender, capsys: Capture) -> None:
    assert main(["workers", "--address", balancer.address]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["worker-0", "serving", "511", "510", "0", "2.1", "k", "4.0", "KiB"]
    assert lines[2].split() == ["worker-1", "dead", "-", "-", "-", "-", "-"]  # whatever it last held
    assert lines[3] == "view 12 of cluster c0ffee; whole: 2 copies of each of 1,021 partitions"
    assert main(["workers", "--address", balancer.address, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["epoch"], told["partitions_short"], told["workers"][1]["state"]) == (12, 0, "dead")


def test_what_is_amiss_is_said(balancer: Pretender, capsys: Capture) -> None:
    balancer.listed.partitions_short, balancer.listed.partitions_refused = 510, 1
    assert main(["workers", "--address", balancer.address]) == 0
    assert capsys.readouterr().out.endswith("c0ffee; 1 partition takes no events, 510 partitions short of a copy\n")
    balancer.listed = pb.ListWorkersResponse(workers=[pb.Worker(name="worker-0", state="joining")])
    assert main(["workers", "--address", balancer.address]) == 0
    assert "has not formed yet" in capsys.readouterr().out


def test_a_key_is_explained(balancer: Pretender, capsys: Capture) -> None:
    assert main(["explain", "ada", "--address", balancer.address]) == 0
    assert [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()] == [
        "key 'ada'",
        "partition 77",
        "served by worker-0",
        "copies on worker-1",
        "goes on at worker-1, if worker-0 dies",
        "view 12",
        "why the table names worker-0",
    ]
    assert main(["explain", "ada", "--address", balancer.address, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["location"] == {"partition": 77, "primary": "worker-0", "replicas": ["worker-1"]}
    assert told["why"] == "the table names worker-0"


def test_the_ledger_is_added_up(balancer: Pretender, capsys: Capture) -> None:
    assert main(["ledger", "--address", balancer.address]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[1:4] == [["2", "5", "5", "0", "0"], ["7", "10", "6", "3", "1"], ["all", "2", "15", "11", "3", "1"]]
    assert lines[4][0] == "balances:"
    assert main(["ledger", "--address", balancer.address, "--json", "--partition", "7"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["received"], told["applied"], told["balances"]) == (10, 6, True)
    assert [row["partition"] for row in told["partitions"]] == [7]


def test_a_ledger_that_does_not_balance_is_a_failure(balancer: Pretender, capsys: Capture) -> None:
    balancer.rows += [pb.LedgerRow(partition=number, received=100, applied=100) for number in range(100, 140)]
    balancer.rows[1].received = 6  # an event that nobody accounts for, in a partition with few
    assert main(["ledger", "--address", balancer.address]) == 1
    shown = capsys.readouterr().out
    assert "does NOT balance in 1 partition: 2" in shown
    assert ["2", "6", "5", "0", "0", "does", "not", "balance"] in [line.split() for line in shown.splitlines()]
    assert "21 others" in shown  # 42 partitions: the 20 busiest and the odd one are shown
    assert main(["ledger", "--address", balancer.address, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["balances"] is False


def test_a_partition_of_which_nobody_tells(balancer: Pretender, capsys: Capture) -> None:
    assert main(["ledger", "--address", balancer.address, "--partition", "7", "--partition", "8"]) == 1
    assert "nobody tells of partition 8" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [(["scale", "3"], "scale_to", 3), (["drain", "worker-1"], "drain", "worker-1"), (["restart"], "restart_all", True)],
)
@pytest.mark.parametrize("dry", [True, False])
def test_a_move_is_asked_for_and_watched(
    words: list[str], field: str, value: object, dry: bool, balancer: Pretender, capsys: Capture
) -> None:
    assert main([*words, "--address", balancer.address, *(["--dry-run"] if dry else [])]) == 0
    (request,) = balancer.asked
    assert (request.WhichOneof("move"), getattr(request, field), request.validate_only) == (field, value, dry)
    shown = capsys.readouterr().out
    assert "worker-2 [new] joined" in shown
    if dry:
        twice = " (there and back)" if words == ["restart"] else ""
        assert f"would move 10 partitions{twice} and make 4 copies; each waits about 3.1 ms" in shown
        assert "nothing was changed" in shown
    else:
        assert "100%  10 of 10 partitions, 4 of 4 copies" in shown
        assert "done: moved 10 partitions, made 4 copies; no key waited longer than 3.1 ms" in shown


@pytest.mark.parametrize(
    ("words", "short"),
    [
        (["scale", "1"], "each key has 1 copy of 2: the next death loses keys"),
        (["drain", "worker-0"], "each key has 1 copy of 2: the next death loses keys"),
        (["scale", "2"], ""),
        (["drain", "worker-1"], ""),
        (["restart"], ""),
    ],
)
def test_what_leaves_too_few_workers_says_what_that_costs(
    words: list[str], short: str, balancer: Pretender, capsys: Capture
) -> None:
    balancer.listed.workers.append(pb.Worker(name="worker-2", state="serving"))
    if words == ["drain", "worker-1"]:
        balancer.listed.workers.append(pb.Worker(name="worker-3", state="joining"))
    for when, dry in (("afterwards", ["--dry-run"]), ("now", [])):
        assert main([*words, *dry, "--address", balancer.address]) == 0
        shown = capsys.readouterr().out
        assert (f"{when} {short}" in shown) if short else ("each key has" not in shown)


@pytest.mark.parametrize(
    ("code", "details", "says"),
    [
        (grpc.StatusCode.NOT_FOUND, "no worker 'w9'", "no worker 'w9': there are worker-0, worker-1"),
        (grpc.StatusCode.NOT_FOUND, "no w9, only worker-0", "no w9, only worker-0"),
        (grpc.StatusCode.FAILED_PRECONDITION, "2 copies need 2 workers", "2 copies need 2 workers"),
        (grpc.StatusCode.UNIMPLEMENTED, "not served", "name the public address of a balancer, not of a worker"),
        (grpc.StatusCode.UNAVAILABLE, "shutting down", "shutting down"),
    ],
)
def test_what_goes_wrong_is_one_line(
    code: grpc.StatusCode, details: str, says: str, balancer: Pretender, capsys: Capture
) -> None:
    balancer.ends = (code, details)
    assert main(["drain", "w9", "--address", balancer.address]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert says in error
    assert error.count("\n") == 1
    assert "done" not in error


@pytest.mark.parametrize("words", [["workers"], ["scale", "3"], ["explain", "ada"], ["ledger"]])
def test_nothing_listens_there(words: list[str], capsys: Capture) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    assert main([*words, "--address", address]) == 1
    error = capsys.readouterr().err
    assert f"nothing listens at {address} (Connection refused)" in error
    assert "ringmill up" in error
    assert "one that was just killed is back in some seconds" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("address", ["7400", "localhost", "localhost:x", "localhost:70000", ":7400"])
def test_what_is_no_address(address: str, capsys: Capture) -> None:
    assert main(["workers", "--address", address]) == 1
    assert f"{address!r} is no address: say --address HOST:PORT" in capsys.readouterr().err


def test_progress_counts_moves_and_copies_together() -> None:
    assert move.percent(pb.MoveWorkersResponse()) == 100  # nothing to do
    assert move.percent(pb.MoveWorkersResponse(moved=5, total=10)) == 50
    assert move.percent(pb.MoveWorkersResponse(moved=10, total=10, copied=0, copies=30)) == 25
    assert move.percent(pb.MoveWorkersResponse(moved=20, total=10)) == 100


def test_many_keys_are_looked_for_a_few_at_a_time() -> None:
    asked: list[int] = []

    class Locating(Admin):
        def _ask(self, method: Any, request: Any) -> Any:
            asked.append(len(request.keys))
            return processing_pb2.LocateResponse(
                locations=[processing_pb2.Location(primary=key) for key in request.keys]
            )

    keys = [str(number) for number in range(2 * LOCATED_MAX + 1)]
    with grpc.insecure_channel("127.0.0.1:1") as channel:
        located = Locating(channel, "").locate(keys)
    assert [each.primary for each in located] == keys
    assert asked == [LOCATED_MAX, LOCATED_MAX, 1]
    assert LOCATED_MAX <= balancer_admin.LOCATED_MAX
