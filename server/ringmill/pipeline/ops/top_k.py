"""The most frequent labels: SpaceSaving."""

from ringmill.pipeline.fields import Array, Event, Label, LabelInput, State, array, label
from ringmill.pipeline.operators import Columns, Step, operator
from ringmill.pipeline.ops.parameters import checked_whole

K_MAX = 32
COUNTERS_MAX = 1024
_MISSING = label("")


def top_k(source: str, k: int = 3, counters: int = 64) -> Step:
    """The k most frequent labels of the key's events, and how often each came at most.

    Outputs `label1` to `label<k>` and `count1` to `count<k>`, in falling order; "" and 0 where there are fewer. k: 1 to
    32. counters: labels kept, at least k and at most 1,024. After n events a count is too high by at most n / counters,
    never too low; every label with more than n / counters events is among those kept; exact while there are no more
    labels than counters. A missing label changes nothing. State: 24 * counters + 8 bytes.
    Merges: bounds add up. Not the same as of the union where counters ran out.
    Source: Metwally, Agrawal, El Abbadi, "Efficient computation of frequent and top-k elements in data streams", ICDT
    2005; merged as in Agarwal et al., "Mergeable summaries", PODS 2012.
    """
    k = checked_whole("top_k", "k", k, 1, K_MAX)
    counters = checked_whole("top_k", "counters", counters, k, COUNTERS_MAX)

    class Frequent(State):
        """Labels in falling order of their counts, how many there are, and how much of a count may be too much."""

        labels: Array = array(counters, fill=label(""))
        counts: Array = array(counters, fill=0)
        errors: Array = array(counters, fill=0)
        used: int = 0

    def find(state: Frequent, name: Label) -> int:
        """The place of a label, or -1. Looks at all, which is faster than to stop."""
        after = 0
        for place in range(counters):
            after += place + 1 if state.labels[place] == name else 0
        return after - 1

    def raise_count(state: Frequent, place: int) -> None:
        """Adds one, after changing places with the first of those that have the same count: so the order stays."""
        count, low, high = state.counts[place], 0, place
        while low < high:
            middle = (low + high) // 2
            if state.counts[middle] > count:
                low = middle + 1
            else:
                high = middle
        name, error = state.labels[place], state.errors[place]
        state.labels[place], state.errors[place] = state.labels[low], state.errors[low]
        state.labels[low], state.errors[low] = name, error
        state.counts[low] += 1

    def move_up(state: Frequent, place: int, by: int) -> None:
        """Adds to a count, and moves it up over those that are smaller."""
        name, count, error = state.labels[place], state.counts[place] + by, state.errors[place]
        while place > 0 and state.counts[place - 1] < count:
            state.labels[place] = state.labels[place - 1]
            state.counts[place] = state.counts[place - 1]
            state.errors[place] = state.errors[place - 1]
            place -= 1
        state.labels[place], state.counts[place], state.errors[place] = name, count, error

    def merged(state: Frequent, other: Frequent) -> None:
        """A label that one of them does not keep may have come there as often as its smallest count."""
        least, other_least = state.counts[counters - 1], other.counts[counters - 1]
        for place in range(state.used):
            there = find(other, state.labels[place])
            state.errors[place] += other.errors[there] if there >= 0 else other_least
            move_up(state, place, other.counts[there] if there >= 0 else other_least)
        for there in range(other.used):
            count = other.counts[there] + least
            if find(state, other.labels[there]) >= 0:
                continue
            if state.used < counters:
                state.used += 1
            elif count <= state.counts[counters - 1]:
                continue
            place = state.used - 1
            state.labels[place], state.counts[place] = other.labels[there], 0
            state.errors[place] = other.errors[there] + least
            move_up(state, place, count)

    def label_at(state: Frequent, index: int) -> Label:
        name: Label = state.labels[index]
        return name

    def count_at(state: Frequent, index: int) -> int:
        count: int = state.counts[index]
        return count

    numbers = range(1, k + 1)
    columns = (
        Columns(tuple(f"label{number}" for number in numbers), label_at),
        Columns(tuple(f"count{number}" for number in numbers), count_at),
    )

    def never(state: Frequent, event: Event, source: LabelInput) -> None:
        """It cannot fail: the labels of an event are known before it runs."""

    @operator(merge=merged, columns=columns, guard=never)
    def _top_k(state: Frequent, event: Event, source: LabelInput) -> None:
        if source != _MISSING:
            place = find(state, source)
            if place < 0 and state.used < counters:
                place = state.used
                state.used += 1
            elif place < 0:  # the last has the smallest count: its counter goes to the new label, with its count
                place = counters - 1
                state.errors[place] = state.counts[place]
            state.labels[place] = source
            raise_count(state, place)

    return _top_k(source)
