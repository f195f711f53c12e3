"""Times without service, from records whose gaps are known."""

import numpy as np

from ringmill.loadtest.chaos.gaps import gap_ms, pause_ms, worst
from ringmill.loadtest.chaos.records import RECORD, Fate, Records

MS = 1_000_000


def probes(*rows: tuple[int, int, int, Fate]) -> Records:
    """Records of (key, sent, answered, fate), in milliseconds."""
    made = np.zeros(len(rows), RECORD)
    for place, (key, sent, answered, fate) in enumerate(rows):
        made[place]["key"], made[place]["fate"] = key, fate
        made[place]["sent_ns"], made[place]["answered_ns"] = sent * MS, answered * MS
    return made


ROWS = probes(
    (7, 0, 1, Fate.PLACED),
    (7, 10, 12, Fate.PLACED),  # the last answer before 20
    (8, 10, 11, Fate.PLACED),
    (7, 19, 60, Fate.PLACED),  # sent before 20: answered late, which does not show that new ones are served
    (7, 30, 31, Fate.REFUSED),
    (7, 40, 41, Fate.DOUBT),
    (7, 50, 65, Fate.PLACED),
    (7, 55, 66, Fate.PLACED),
    (8, 21, 22, Fate.PLACED),
)


def test_a_gap_lasts_until_something_new_is_served() -> None:
    assert gap_ms(ROWS, 7, 20 * MS) == 65 - 12
    assert gap_ms(ROWS, 8, 20 * MS) == 22 - 11


def test_a_gap_that_is_not_over_is_none() -> None:
    assert gap_ms(ROWS, 8, 25 * MS) is None
    assert worst([gap_ms(ROWS, 7, 25 * MS), gap_ms(ROWS, 8, 25 * MS)]) is None


def test_a_pause_is_the_longest_time_between_answers() -> None:
    assert pause_ms(ROWS, 7) == 60 - 12
    assert pause_ms(ROWS, 9) is None


def test_the_worst_of_none_is_none() -> None:
    assert worst([]) is None
    assert worst([3.0, 5.0, 4.0]) == 5.0
