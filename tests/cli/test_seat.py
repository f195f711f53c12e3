"""When a child that ended is started again, with children that only pretend and a clock that is an argument."""

import pytest

from ringmill.cli.children import Child
from ringmill.cli.seat import STEADY_S, Seat, restart_pause_s


class Pretender(Child):
    """A child without a process."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.ready = {"event": "ready"}
        self.last_error = self.last_words = ""

    @property
    def pid(self) -> int:
        return 42

    def exit_status(self) -> int | None:
        return self.status


@pytest.fixture
def started() -> list[Pretender]:
    return []


@pytest.fixture
def seat(started: list[Pretender]) -> Seat:
    def spawn() -> Pretender:
        started.append(Pretender())
        return started[-1]

    made = Seat("worker-0", spawn)
    made.start(0.0)
    return made


def die(seat: Seat, now_s: float, status: int = -9) -> str:
    assert isinstance(seat.child, Pretender)
    seat.child.status = status
    assert seat.has_ended
    return seat.check(now_s)


def test_the_first_death_costs_no_pause(seat: Seat, started: list[Pretender]) -> None:
    assert die(seat, 1.0) == "was killed by SIGKILL; starting it again"
    assert seat.check(1.0) == ""
    assert len(started) == 2
    assert seat.check(1.0) == "is back, process 42"
    assert seat.check(1.0) == ""  # it is told once


def test_who_dies_again_waits_longer_each_time(seat: Seat, started: list[Pretender]) -> None:
    die(seat, 0.0)
    seat.check(0.0)
    assert die(seat, 1.0).endswith("starting it again in 0.2 s")
    seat.check(1.1)
    assert len(started) == 2
    seat.check(1.2)
    assert len(started) == 3
    assert die(seat, 2.0).endswith("in 0.4 s")


def test_who_ran_long_starts_over_without_a_pause(seat: Seat) -> None:
    for now_s in (0.0, 1.0, 2.0):
        die(seat, now_s)
        seat.check(now_s + 1.0)
    assert die(seat, 3.1 + STEADY_S) == "was killed by SIGKILL; starting it again"


def test_its_own_words_say_why(seat: Seat) -> None:
    assert seat.child is not None
    seat.child.last_error = "port 7400 is taken"
    assert die(seat, 0.0, 1) == "port 7400 is taken; starting it again"
    assert seat.last_error == "port 7400 is taken"


def test_a_crash_is_told_by_its_exception(seat: Seat) -> None:
    assert seat.child is not None
    seat.child.last_words = "ValueError: no"
    assert die(seat, 0.0, 1) == "exited with status 1 (ValueError: no); starting it again"


def test_leaving_in_good_order_is_no_failure(seat: Seat) -> None:
    for now_s in (0.0, 0.1, 0.2):
        assert die(seat, now_s, 0) == "left in good order; starting it anew"
        seat.check(now_s)
    assert seat.failures == 0


def test_leaving_before_it_was_ready_is_one(seat: Seat) -> None:
    assert seat.child is not None
    seat.child.ready = None
    assert die(seat, 0.0, 0) == "exited with status 0; starting it again"
    assert seat.failures == 1


def test_who_is_not_wanted_is_not_started_again(seat: Seat, started: list[Pretender]) -> None:
    seat.wanted = False
    assert not seat.is_over
    assert die(seat, 0.0, 0) == "was let go"
    assert seat.is_over
    seat.check(100.0)
    assert len(started) == 1


def test_a_newcomer_has_joined_and_is_not_back() -> None:
    seat = Seat("worker-7", Pretender)
    seat.check(0.0)
    assert seat.check(0.0) == "has joined, process 42"


def test_pauses_double_up_to_a_limit() -> None:
    assert [restart_pause_s(failures) for failures in (0, 1, 2, 3, 4, 8, 100)] == [0, 0, 0.2, 0.4, 0.8, 10.0, 10.0]
