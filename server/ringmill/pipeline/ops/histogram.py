"""How values are spread over ranges."""

import math
from collections.abc import Sequence

import numpy as np

from ringmill.pipeline.fields import Array, Event, Input, State, array
from ringmill.pipeline.operators import Columns, Step, operator
from ringmill.pipeline.ops.parameters import checked_number
from ringmill.pipeline.place import caller, wrong

EDGES_MAX = 257


def histogram(source: str, edges: Sequence[float]) -> Step:
    """How many of the key's values fell into each range between `edges`.

    edges: 2 to 257 rising numbers. Outputs `under`, `bin0`, `bin1`, ... and `over`: a value at an edge belongs to the
    range above it. A missing value changes nothing. State: 8 * (edges + 1) bytes. Merges.
    Definition: as `numpy.searchsorted(edges, value, side="right")`, counted.
    """
    numbers = tuple(edges) if isinstance(edges, (tuple, list, range)) else ()
    if not 2 <= len(numbers) <= EDGES_MAX:
        raise wrong(caller(), f"histogram(edges={edges!r:.60}): write 2 to {EDGES_MAX} rising numbers")
    table = np.array([checked_number("histogram", "edges", number) for number in numbers])
    if not (np.diff(table) > 0.0).all():
        raise wrong(caller(), f"histogram(edges={edges!r:.60}): write them in rising order, each once")
    table.flags.writeable = False
    count = len(numbers)

    class Counts(State):
        """Of the values below the first edge, between each two, and from the last on."""

        counts: Array = array(count + 1, fill=0)

    def count_at(state: Counts, index: int) -> int:
        number: int = state.counts[index]
        return number

    def merged(state: Counts, other: Counts) -> None:
        for place in range(count + 1):
            state.counts[place] += other.counts[place]

    names = ("under", *(f"bin{number}" for number in range(count - 1)), "over")

    @operator(merge=merged, columns=(Columns(names, count_at),))
    def _histogram(state: Counts, event: Event, source: Input) -> None:
        if not math.isnan(source):
            low, high = 0, count
            while low < high:
                middle = (low + high) // 2
                if source < table[middle]:
                    high = middle
                else:
                    low = middle + 1
            state.counts[low] += 1

    return _histogram(source)
