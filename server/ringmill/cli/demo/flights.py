"""The demo's data: a year of flights as columns of events."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ringmill.cli.extras import need
from ringmill.core.errors import Code, RingmillError

if TYPE_CHECKING:
    import pyarrow as pa

DATA = Path(__file__).resolve().parents[1] / "data"
FLIGHTS = DATA / "flights.parquet"

BY_TAIL = "flights_by_tail"
BY_ROUTE = "flights_by_route"


@dataclass(frozen=True, slots=True)
class Events:
    """Columns of n events, in the order in which they are sent."""

    keys: "pa.DictionaryArray"  # [n]; empty where the aircraft is unknown
    times: npt.NDArray[np.int64]  # [n], microseconds since 1970 UTC; not in order
    delay: npt.NDArray[np.float64]  # [n], minutes; NaN: cancelled

    def __len__(self) -> int:
        return len(self.keys)

    def piece(self, start: int, stop: int) -> "Events":
        """Some of the events; no copy."""
        return Events(self.keys[start:stop], self.times[start:stop], self.delay[start:stop])

    def copies(self, count: int) -> "Events":
        """The same events `count` times over, each time for keys of their own: "N14228", then "N14228/1" and so on."""
        import pyarrow as pa

        names = self.keys.dictionary.to_pylist()
        dictionary = names + [f"{name}/{copy}" for copy in range(1, count) for name in names]
        codes = self.keys.indices.to_numpy()
        indices = np.concatenate([codes + copy * len(names) for copy in range(count)])
        keys = pa.DictionaryArray.from_arrays(pa.array(indices, pa.int32()), pa.array(dictionary))
        return Events(keys, np.tile(self.times, count), np.tile(self.delay, count))


def app_file() -> Path:
    """The demo's pipelines: beside the data in an installed package, in examples/ of a checkout."""
    installed = DATA / "flights.py"
    checkout = Path(__file__).resolve().parents[4] / "examples" / "flights.py"
    for path in (installed, checkout):
        if path.exists():
            return path
    raise RingmillError(Code.NOT_FOUND, f"the demo's pipelines are missing: {installed}")


def load(path: Path = FLIGHTS) -> dict[str, Events]:
    """All flights, keyed by aircraft and by route. Raises RingmillError if pyarrow or the file is missing."""
    need("pyarrow")
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    if not path.exists():
        raise RingmillError(Code.NOT_FOUND, f"the demo's data is missing: {path}")
    table = pq.read_table(path)
    times = table["time"].cast("int64").to_numpy()
    delay = table["dep_delay"].cast("float64").to_numpy()
    routes = pc.call_function("binary_join_element_wise", [table["origin"], table["dest"], pa.scalar("-")])
    keys = {BY_ROUTE: routes, BY_TAIL: table["tailnum"].fill_null("")}
    return {name: Events(_dictionary(column), times, delay) for name, column in keys.items()}


def _dictionary(column: Any) -> Any:
    return column.combine_chunks().dictionary_encode()
