"""Shows that the fuzzer can fail: plants mistakes in the codec, one at a time, and counts the cases until each is seen.

python -m tests.fuzz.mutants [NAME ...]. A mistake is planted in a copy of the sources, never in the working tree, and
the copy compiles into a cache of its own, 5 to 8 s for each. Ends with status 1 if a mistake survives, and with an
error if a mistake does not fit the sources any more or keeps the codec from starting.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "server" / "ringmill" / "core"
CASES = 100_000
_FOUND = re.compile(r"^(?:server|client): case (\d+), seed \d+: (.*)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one file."""

    file: str
    """Below server/ringmill/core."""
    old: str
    """Must stand in the file `times` times."""
    new: str
    times: int = 1


@dataclass(frozen=True, slots=True)
class Mutant:
    """A mistake that the fuzzer must find."""

    name: str
    edits: tuple[Edit, ...]
    part: str
    """What of the fuzzer must find it: "scan", "client", or one of check.PARTS. Only that is compiled."""


_PARTS = {
    "memory.py": "bounds",
    "split.py": "split",
    "codec/decoder.py": "decode1",
    "codec/fields.py": "split",
    "codec/encoder.py": "encode",
    "codec/request_encoder.py": "client",
    "codec/response_decoder.py": "client",
}


def _mutant(name: str, file: str, old: str, new: str, part: str = "") -> Mutant:
    return Mutant(name, (Edit(file, old, new),), part or _PARTS.get(file, "scan"))


def _in_both(name: str, old: str, new: str) -> Mutant:
    """The same mistake in scanner and decoder, which then agree with each other."""
    return Mutant(name, (Edit("codec/scanner.py", old, new), Edit("codec/decoder.py", old, new)), "decode1")


_FIRST_KEY_WINS = """text_start, cursor = read_length(buffer, cursor, position)
                    if key_stop == key_start:
                        key_start = text_start
                        key_stop = cursor
                    if cursor < 0 or not is_utf8(buffer, text_start, cursor):
"""
_LAST_KEY_WINS = """key_start, cursor = read_length(buffer, cursor, position)
                    key_stop = cursor
                    if cursor < 0 or not is_utf8(buffer, key_start, cursor):
"""

MUTANTS = (
    # The wire format
    _mutant("a varint of 11 bytes", "wire.py", "min(stop, position + 10)", "min(stop, position + 11)"),
    _mutant("a tag or length of 6 bytes", "wire.py", "min(stop, position + 5)", "min(stop, position + 6)"),
    _mutant("a tag above 32 bits", "wire.py", "position, stop, 0xFFFFFFFF)", "position, stop, 0x7FFFFFFFF)"),
    _mutant("a length past the end", "wire.py", "start < 0 or length > stop - start:", "start < 0:"),
    _mutant("a length one past the end", "wire.py", "length > stop - start:", "length > stop - start + 1:"),
    _mutant("a fixed64 of 7 bytes", "wire.py", "stop - position >= 8 else", "stop - position >= 7 else"),
    _mutant("a fixed32 of 3 bytes", "wire.py", "stop - position >= 4 else", "stop - position >= 3 else"),
    _mutant("groups one deeper", "wire.py", "if depth <= 0:", "if depth < 0:"),
    _mutant("a group within an event one deeper", "codec/scanner.py", "tag, DEPTH_MAX - 1)", "tag, DEPTH_MAX)"),
    _mutant("a group that ends with any number", "wire.py", "position if tag >> 3 == number else -1", "position"),
    _mutant("field number 0", "wire.py", "if tag < 8:", "if tag < 0:"),
    _mutant(
        "wire types 6 and 7",
        "wire.py",
        "stop - position >= 4 else -1\n    return -1",
        "stop - position >= 4 else -1\n    return position",
    ),
    _mutant(
        "the last tag byte lost in the head",
        "wire.py",
        "copy_bytes(out, position, buffer, start, stop)",
        "copy_bytes(out, position, buffer, start, stop - 1)",
    ),
    # Text
    _mutant("surrogates", "utf8.py", "0x9F if lead == 0xED else 0xBF", "0xBF"),
    _mutant("over-long forms of 2 bytes", "utf8.py", "0xC2 <= lead", "0xC0 <= lead"),
    _mutant("over-long forms of 3 bytes", "utf8.py", "0xA0 if lead == 0xE0 else 0x80", "0x80"),
    _mutant("over-long forms of 4 bytes", "utf8.py", "0x90 if lead == 0xF0 else 0x80", "0x80"),
    _mutant("code points past 10FFFF", "utf8.py", "0x8F if lead == 0xF4 else 0xBF", "0xBF"),
    _mutant("text cut off in a character", "utf8.py", "stop - position < length:", "stop - position < length - 1:"),
    _mutant("the second word of a text unseen", "utf8.py", " | load64(buffer, stop - 8)", ""),
    # Memory and hashing
    _mutant(
        "bounds one too wide",
        "memory.py",
        "builder.add(position, length), view",
        "builder.add(position, builder.sub(length, ir.Constant(length.type, 1))), view",
    ),
    _mutant("negative offsets", "memory.py", "builder.or_(below, above)", "above"),
    _mutant("a wrong product", "memory.py", "ir.Constant(wide, 64)", "ir.Constant(wide, 65)", "scan"),
    _mutant("a rotation of the hash", "hashing.py", "_rotate(lane_3, 12)", "_rotate(lane_3, 13)"),
    _mutant("keys of whole stripes", "hashing.py", "while stop - position >= 32:", "while stop - position > 32:"),
    _mutant("keys of a whole half word", "hashing.py", "if stop - position >= 4:", "if stop - position > 4:"),
    _mutant("partition 1021 of 1021", "hashing.py", "if rest >= divisor", "if rest > divisor"),
    # The structure of requests
    Mutant(
        "runs not of 8 bytes each",
        (
            Edit("codec/scanner.py", "cursor < 0 or (cursor - run_start) & 7 != 0", "cursor < 0"),
            Edit("codec/decoder.py", "cursor < 0 or (cursor - run) & 7 != 0", "cursor < 0", 2),
        ),
        "decode1",
    ),
    _mutant(
        "the scanner laxer on runs",
        "codec/scanner.py",
        "cursor < 0 or (cursor - run_start) & 7 != 0",
        "cursor < 0",
        "decode0",
    ),
    _mutant(
        "the scanner laxer on labels", "codec/scanner.py", " or not is_utf8(buffer, label_start, cursor)", "", "decode2"
    ),
    _mutant("the decoder laxer on labels", "codec/decoder.py", " or not is_utf8(buffer, run, cursor)", ""),
    _mutant(
        "the scanner stricter on numbers",
        "codec/scanner.py",
        "if cursor > position:",
        "if cursor >= position:",
        "decode1",
    ),
    _in_both("a key of another wire type", "if tag == key_tag:", "if tag >> 3 == key_tag >> 3:"),
    _in_both("the first key wins", _LAST_KEY_WINS, _FIRST_KEY_WINS),
    _mutant(
        "the first time wins",
        "codec/decoder.py",
        "time_us = np.int64(load64(buffer, cursor))",
        "time_us = time_us if time_us else np.int64(load64(buffer, cursor))",
    ),
    _in_both("one event too many", "if count == ", "if count > "),
    _mutant("field 100 let through", "codec/layout.py", "RESERVED_FIRST = 100", "RESERVED_FIRST = 101"),
    _mutant("field 127 let through", "codec/layout.py", "RESERVED_LAST = 127", "RESERVED_LAST = 126"),
    _in_both("reserved only if last", "reserved |=", "reserved ="),
    # The rules of events
    _mutant("a key of 1025 bytes", "codec/layout.py", "KEY_BYTES_MAX = 1024", "KEY_BYTES_MAX = 1025", "decode1"),
    _mutant("a label of 1025 bytes", "codec/layout.py", "LABEL_BYTES_MAX = 1024", "LABEL_BYTES_MAX = 1025", "decode2"),
    _mutant("the year 10000", "codec/layout.py", "799_999_999", "800_000_000", "decode1"),
    _mutant("no time where it is used", "codec/decoder.py", "1 if rules.uses_time else 0", "0"),
    _mutant("NaN as it came", "codec/decoder.py", "            value = np.nan\n", "", "decode2"),
    _mutant("NaN where it may not stand", "codec/decoder.py", " or not nullable[column]:", ":"),
    _mutant("infinity", "codec/decoder.py", "word & _MANTISSA == np.uint64(0) or not", "not"),
    _mutant("a bool of 2", "codec/decoder.py", "word > np.uint64(1)", "word > np.uint64(2)"),
    _mutant("one value too few", "codec/decoder.py", "values_count < values_required or ", ""),
    _mutant("one label too many", "codec/decoder.py", "stored >= columns or stop", "stop"),
    _mutant(
        "reasons in another order",
        "codec/decoder.py",
        "if key_stop == key_start or ",
        "if values_count <= values_max and key_stop == key_start or ",
    ),
    _mutant(
        "no default of doubles",
        "codec/decoder.py",
        "values[count, column] = value_defaults[column]",
        "values[count, column] = 0.0",
        "decode2",
    ),
    _mutant(
        "no default of integers",
        "codec/decoder.py",
        "integers[count, column] = integer_defaults[column]",
        "integers[count, column] = 0",
        "decode2",
    ),
    _mutant(
        "a missing label not cleared", "codec/decoder.py", "_clear_label(labels, count, column)", "pass", "decode2"
    ),
    _mutant("the empty label hashed", "codec/decoder.py", " if stop > position else np.uint64(0)", "", "decode2"),
    _mutant(
        "a second run replaces the first",
        "codec/decoder.py",
        "integers, count, integers_count, bools, buffer, run, cursor)\n                elif",
        "integers, count, 0, bools, buffer, run, cursor)\n                elif",
    ),
    # Splitting and merging
    _mutant(
        "a split copies one byte less", "split.py", "offset, buffer, start, stop)", "offset, buffer, start, stop - 1)"
    ),
    _mutant(
        "a part without its head",
        "split.py",
        "view[position:events] = head",
        "view[position:events] = bytes(len(head))",
    ),
    _mutant(
        "events of nobody to the last worker",
        "split.py",
        "        owners[index] = owner\n        if owner < 0:",
        "        owners[index] = owner\n        if owner < -1:",
    ),
    _mutant(
        "a merge swaps outcomes", "split.py", "outcome: Any = ranges[row]", "outcome: Any = ranges[found - 1 - row]"
    ),
    _mutant(
        "a merge with one outcome too many", "split.py", "return position if taken == found else -1", "return position"
    ),
    _mutant(
        "a merge leaves out the refused", "split.py", "append(out, position, buffer, 0, refused_length)", "position"
    ),
    _mutant(
        "a merge loses an outcome's tag",
        "split.py",
        "np.int64(outcome.start) - np.int64(outcome.flags)",
        "np.int64(outcome.start)",
    ),
    _mutant(
        "an answer cut off",
        "codec/fields.py",
        "            if position < 0:\n                return MALFORMED, 0\n            if count",
        "            if count",
    ),
    # Encoding outcomes
    _mutant(
        "a rejection left out",
        "codec/encoder.py",
        "            if reason != 0:\n",
        "            if reason == 33:\n                continue\n            if reason != 0:\n",
    ),
    _mutant("a reason past the details", "codec/encoder.py", "reason < detail_ranges", "reason <= detail_ranges"),
    _mutant(
        "an empty detail written",
        "codec/encoder.py",
        "position, reason)\n    if length > 0:",
        "position, reason)\n    if length >= 0:",
    ),
    _mutant(
        "room for a rejection short by one",
        "codec/encoder.py",
        "varint_size(outer) + outer:",
        "varint_size(outer) + outer - 1:",
    ),
    _mutant(
        "long labels counted short",
        "codec/encoder.py",
        "varint_size(tag) + varint_size(length) + length\n    return size",
        "varint_size(tag) + 1 + length\n    return size",
    ),
    # The client's codec
    _mutant("a reason not cut to 32 bits", "codec/response_decoder.py", "word & np.uint64(0xFFFFFFFF)", "word"),
    _mutant(
        "a later reason unmerged", "codec/response_decoder.py", "payload, position, reason)", "payload, position, 0)"
    ),
    _mutant(
        "a detail of any bytes",
        "codec/response_decoder.py",
        "position >= 0 and not is_utf8",
        "position >= 0 and False and not is_utf8",
    ),
    _mutant("a rejection's group one deeper", "codec/response_decoder.py", "DEPTH_MAX - 2", "DEPTH_MAX - 1"),
    _mutant(
        "labels past their columns",
        "codec/response_decoder.py",
        "labels_seen < labels.shape[1]",
        "labels_seen <= labels.shape[1]",
    ),
    _mutant(
        "the time of an event left out", "codec/request_encoder.py", "size += varint_size(_TIME_TAG) + 8", "size += 8"
    ),
    _mutant(
        "a request past its room", "codec/request_encoder.py", "> out.size - position:", "> out.size - position + 1:"
    ),
    _mutant(
        "a key outside its heap", "codec/request_encoder.py", "0 <= start <= stop <= heap.size", "0 <= start <= stop"
    ),
)


def edited(mutant: Mutant) -> dict[str, str]:
    """The mutant's files with its edits made. Raises ValueError where one does not fit the sources."""
    sources: dict[str, str] = {}
    for edit in mutant.edits:
        source = sources.get(edit.file) or (CORE / edit.file).read_text()
        if source.count(edit.old) != edit.times:
            raise ValueError(f"{mutant.name}: {edit.file} has {source.count(edit.old)} of {edit.old!r}")
        sources[edit.file] = source.replace(edit.old, edit.new)
    return sources


def plant(mutant: Mutant, folder: Path) -> None:
    """Copies the sources of the core into a folder and makes the mutant's edits there."""
    core = folder / "ringmill" / "core"
    shutil.copytree(CORE, core, ignore=shutil.ignore_patterns("__pycache__"))
    for file, source in edited(mutant).items():
        (core / file).write_text(source)


def _options(part: str) -> list[str]:
    if part == "client":
        return ["--codec", "client"]
    return ["--codec", "server", "--parts", *([] if part == "scan" else [part])]


def cases_until_found(mutant: Mutant, cases: int = CASES) -> tuple[int, str] | None:
    """(cases until the fuzzer found the mistake, what it said), or None if it did not in so many."""
    with tempfile.TemporaryDirectory(prefix="ringmill-mutant-") as name:
        folder = Path(name)
        plant(mutant, folder / "server")
        run = subprocess.run(
            [sys.executable, "-c", _RUN, *_options(mutant.part), "--cases", str(cases)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(folder / "server"), "RINGMILL_CACHE_DIR": str(folder / "cache")},
            capture_output=True,
            text=True,
            check=False,
        )
    found = _FOUND.search(run.stderr)
    if found:
        return int(found[1]) + 1, found[2]
    if run.returncode:
        raise RuntimeError(f"{mutant.name}: the fuzzer did not run:\n{run.stderr[-3000:]}")
    return None


_RUN = """
import os, runpy, sys
import ringmill.core
assert ringmill.core.__file__.startswith(os.environ["PYTHONPATH"]), "the mistake is not in what is fuzzed"
sys.path.insert(0, os.getcwd())
runpy.run_module("tests.fuzz", run_name="__main__", alter_sys=True)
"""


def main() -> int:
    """Tries the mutants named, or all, and prints when each was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", help="only the mistakes whose name has one of these words in it")
    parser.add_argument("--cases", type=int, default=CASES, help="cases in which each must be found")
    options = parser.parse_args()
    chosen = [each for each in MUTANTS if not options.names or any(name in each.name for name in options.names)]
    started = time.monotonic()
    survivors = []
    for mutant in chosen:
        found = cases_until_found(mutant, options.cases)
        print(f"{mutant.name:44}{found[0] if found else 'SURVIVED':>8}  {found[1][:100] if found else ''}", flush=True)
        if found is None:
            survivors.append(mutant.name)
    print(f"{len(chosen) - len(survivors)} of {len(chosen)} mistakes found in {time.monotonic() - started:.0f} s")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
