"""What a balancer reports, in words."""

import pytest

from ringmill.cli.news import copies, plural, tell


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (
            {"event": "failover", "worker": "w1", "partitions": 507, "by": ["w0", "w2"]},
            "w1 is gone; its 507 partitions went on at w0 and w2",
        ),
        ({"event": "failover", "worker": "w1", "partitions": 1}, "w1 is gone; its 1 partition went on at others"),
        (
            {"event": "lost", "worker": "w1", "partitions": 2},
            "w1 is gone; 2 partitions of its take no events until a copy is back",
        ),
        (
            {"event": "restarted", "worker": "w1", "partitions": 1021},
            "1,021 partitions had lost every copy and began anew, empty, at w1",
        ),
        ({"event": "whole"}, "whole again: no partition is short of a copy"),
        ({"event": "status", "events": 1}, ""),
        ({}, ""),
    ],
)
def test_an_event_is_one_line(report: dict[str, object], says: str) -> None:
    assert tell(report) == says


@pytest.mark.parametrize(
    ("status", "says"),
    [
        ({}, ""),
        ({"view": 0, "partitions_short": 1021, "partitions_refused": 1021}, ""),
        ({"view": 1, "partitions_short": 0, "partitions_refused": 0}, "whole"),
        ({"view": 1, "partitions_short": 1}, "1 partition short of a copy"),
        (
            {"view": 1, "partitions_short": 1021, "partitions_refused": 2},
            "2 partitions refused, 1,021 partitions short of a copy",
        ),
    ],
)
def test_how_the_copies_stand(status: dict[str, int], says: str) -> None:
    assert copies(status) == says


def test_nouns_agree_with_their_numbers() -> None:
    assert [plural(number, "worker") for number in (0, 1, 2)] == ["0 workers", "1 worker", "2 workers"]
    assert plural(2, "copy", "copies") == "2 copies"
