"""The point-in-time join as its questions become more: ``make bench-join``.

Random questions × 14 features about 10,000 symbols × 1,000 days, one file per day, no TTL. The
entity rows come as an Arrow table or as a pandas frame, the answer is taken as Arrow or as a frame.
The floor reads the columns of the same files into one Arrow table. Every case runs in a process of
its own, in turn with the others; medians. Memory is the peak of a process beyond imports and entity
rows. Of it the answer is the features, and the entity rows where they were given as pandas: the
answer has a copy of them.

Feast's own store (DuckDB) runs first, once, beside ours, bare libraries and the floor: on questions
about the last fifth of the days, with a TTL of three. Without a TTL it fills the disk.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.feast import measure, point_in_time
from benchmarks.feast_data import OURS, make_repository, write_panel

_CASES = {
    "ours": "pit arrow",
    "pandas in": "pit ours",
    "pandas in and out": "pit frame",
    "floor": "pit floor",
}

_TTL_DAYS = 3
"""Where Feast's own store is asked."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeat", type=int, default=3, help="runs of each case")
    parser.add_argument("--days", type=int, default=1_000, help="files of 10,000 rows")
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[1_000_000, 4_500_000, 10_000_000], help="questions"
    )
    parser.add_argument(
        "--stock-rows",
        type=int,
        default=1_000_000,
        help="questions for Feast's own store and bare libraries too; 0 is none",
    )
    parser.add_argument("--folder", type=Path, help="where the files are, or are made and kept")
    arguments = parser.parse_args()
    days = arguments.days
    with _data(arguments.folder, days) as folder:
        if arguments.stock_rows:
            point_in_time(folder, days, arguments.stock_rows, _TTL_DAYS, arguments.repeat)
        for rows in arguments.rows:
            costs = measure(_CASES, folder, rows, arguments.repeat)
            print(f"\n{rows:,} × 14 from {days:,} days of 10,000 symbols")
            print("goal: ≤ 1.6 × floor; answer + 300 MB")
            floor = costs["floor"]
            for who, cost in costs.items():
                told = (
                    f"{cost.seconds / floor.seconds:.2f} × the floor ({cost.cpu / floor.cpu:.2f} ×"
                    f" in CPU seconds), answer ({cost.answer_mb:,.0f} MB) +"
                    f" {cost.peak_mb - cost.answer_mb:,.0f} MB,"
                    f" {rows / cost.seconds / 1e6:.2f} million rows/s"
                )
                print(
                    f"  {who:17} {cost.seconds:8.2f} s {cost.cpu:8.2f} CPU s"
                    f" {cost.peak_mb:7,.0f} MB   {told if who != 'floor' else ''}",
                    flush=True,
                )


@contextmanager
def _data(kept: Path | None, days: int) -> Iterator[Path]:
    """Make the files and the repository, unless they are there."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = kept or Path(temporary)
        if not (folder / "ours").exists():
            write_panel(folder / "panel", 10_000, days)
            span = {"first": 0, "last": days - 1, "ttl_days": None}
            (folder / "span.json").write_text(json.dumps(span))
            make_repository(folder / "ours", folder / "panel", OURS, None)
        yield folder


if __name__ == "__main__":
    main()
