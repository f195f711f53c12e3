"""What operators ask a balancer, over real gRPC."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from ringmill.balancer.adapters.admin import LOCATED_MAX
from ringmill.core.hashing import partition_of
from ringmill.v1.admin_pb2 import ExplainKeyRequest, GetLedgerRequest, ListWorkersRequest, MoveWorkersRequest
from ringmill.v1.processing_pb2 import LocateRequest
from tests.balancer.process import Balancer, Talk, batch, times, until
from tests.balancer.small_worker import DEADLINE_S


@pytest.fixture
def balancer() -> Iterator[Balancer]:
    made = Balancer(replicas=2, expected_workers=3, on_total_loss="refuse")
    try:
        yield made
        assert made.stop() == 0, made.errors
    finally:
        made.close()


def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        list(call())
    return error.value.code(), error.value.details()


def move(balancer: Balancer, **fields: Any) -> Any:
    return balancer.admin.MoveWorkers(MoveWorkersRequest(**fields), timeout=DEADLINE_S)


def test_before_the_cluster_has_formed(balancer: Balancer) -> None:
    balancer.join("a")
    until(lambda: bool(balancer.admin.ListWorkers(ListWorkersRequest(), timeout=DEADLINE_S).workers))
    (worker,) = balancer.admin.ListWorkers(ListWorkersRequest(), timeout=DEADLINE_S).workers
    assert (worker.name, worker.state, worker.partitions) == ("a", "joining", 0)
    for call in (
        lambda: [balancer.stub.Locate(LocateRequest(keys=["k"]), timeout=DEADLINE_S)],
        lambda: [balancer.admin.ExplainKey(ExplainKeyRequest(key="k"), timeout=DEADLINE_S)],
        lambda: [balancer.admin.GetLedger(GetLedgerRequest(), timeout=DEADLINE_S)],
        lambda: move(balancer, scale_to=2),
    ):
        assert refused(call)[0] == grpc.StatusCode.UNAVAILABLE


def test_where_everything_is(balancer: Balancer) -> None:
    balancer.form("a", "b", "c")
    view = balancer.workers[0].view
    assert view is not None
    listed = balancer.admin.ListWorkers(ListWorkersRequest(), timeout=DEADLINE_S)
    assert (listed.copies_wanted, listed.partitions_short, listed.partitions_refused) == (2, 0, 0)
    assert (listed.partitions, listed.cluster, listed.epoch) == (1021, view.cluster, view.version)
    assert sum(worker.partitions for worker in listed.workers) == 1021
    assert sum(worker.copies for worker in listed.workers) == 1021
    assert [worker.keys for worker in listed.workers] == [3, 3, 3]

    located = balancer.stub.Locate(LocateRequest(keys=["k", "ключ"]), timeout=DEADLINE_S)
    assert [each.partition for each in located.locations] == [partition_of(key.encode()) for key in ("k", "ключ")]
    for each in located.locations:
        assert each.primary == view.members[view.table[each.partition]].name
        assert list(each.replicas) == [view.members[view.replicas[each.partition, 0]].name]

    many = LocateRequest(keys=["k"] * (LOCATED_MAX + 1))
    assert refused(lambda: [balancer.stub.Locate(many, timeout=DEADLINE_S)])[0] == grpc.StatusCode.RESOURCE_EXHAUSTED

    explained = balancer.admin.ExplainKey(ExplainKeyRequest(key="k"), timeout=DEADLINE_S)
    assert explained.location == located.locations[0]
    assert explained.partition_epoch == 1
    assert explained.location.primary in explained.why


def test_the_ledger_is_gathered_from_all_primaries(balancer: Balancer) -> None:
    balancer.form("a", "b", "c")
    whole = balancer.admin.GetLedger(GetLedgerRequest(), timeout=DEADLINE_S)
    assert [row.partition for row in whole.rows] == list(range(1021))
    some = balancer.admin.GetLedger(GetLedgerRequest(partitions=[7, 3]), timeout=DEADLINE_S)
    assert [(row.partition, row.received, row.applied) for row in some.rows] == [(3, 2, 2), (7, 2, 2)]


def test_a_dry_run_moves_nothing(balancer: Balancer) -> None:
    balancer.form("a", "b", "c")
    (told,) = move(balancer, drain="b", validate_only=True)
    assert told.total >= 340
    assert told.copies >= 340
    assert told.text == "b leaves"
    listed = balancer.admin.ListWorkers(ListWorkersRequest(), timeout=DEADLINE_S)
    assert [worker.state for worker in listed.workers] == ["serving"] * 3
    assert not [each for each in balancer.news if each["event"] == "want"]


def test_a_worker_is_drained_while_events_flow(balancer: Balancer) -> None:
    balancer.form("a", "b", "c")
    talk = Talk(balancer.stub)
    told = []
    for response in move(balancer, drain="b"):
        told.append(response)
        assert times(talk.ask(batch(0))) == list(range(20)), "nothing is refused meanwhile"
    assert told[-1].moved == told[-1].total >= 340
    assert told[-1].copied == told[-1].copies
    balancer.workers[1].until_over()
    assert balancer.workers[1].error is None
    assert balancer.told("want")["workers"] == ["a", "c"]
    listed = balancer.admin.ListWorkers(ListWorkersRequest(), timeout=DEADLINE_S)
    assert [worker.name for worker in listed.workers] == ["a", "c"]
    assert times(talk.ask(batch(0))) == list(range(20))


def test_scaling_waits_for_workers_that_a_supervisor_starts(balancer: Balancer) -> None:
    balancer.form("a", "b", "c")
    call = move(balancer, scale_to=4)
    assert balancer.told("want")["workers"] == ["a", "b", "c", "worker-0"]
    for response in call:
        if response.text == "waiting for worker-0 to start":
            balancer.join("worker-0")
    listed = balancer.admin.ListWorkers(ListWorkersRequest(), timeout=DEADLINE_S)
    newcomer = listed.workers[3]
    assert newcomer.name == "worker-0"
    assert newcomer.partitions >= 254


def test_what_is_refused(balancer: Balancer) -> None:
    balancer.form("a", "b", "c")
    for fields, code, why in (
        ({}, grpc.StatusCode.INVALID_ARGUMENT, "say what to move"),
        ({"restart_all": False}, grpc.StatusCode.INVALID_ARGUMENT, "say what to move"),
        ({"scale_to": 0}, grpc.StatusCode.INVALID_ARGUMENT, "1 to 1020"),
        ({"drain": "w9"}, grpc.StatusCode.NOT_FOUND, "no worker 'w9'; there are a, b, c"),
    ):
        told, details = refused(lambda fields=fields: move(balancer, **fields))
        assert told == code
        assert why in details


def test_a_later_request_takes_over(balancer: Balancer) -> None:
    balancer.form("a", "b", "c")
    for worker in balancer.workers:
        worker.copies = False
    first = move(balancer, drain="b")
    next(first)
    second = move(balancer, scale_to=3)
    next(second)
    code, details = refused(lambda: first)
    assert code == grpc.StatusCode.ABORTED
    assert "another request has taken over" in details
