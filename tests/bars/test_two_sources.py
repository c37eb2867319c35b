"""Two sources with bars of one symbol: which counts, where the other is kept, how they differ."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from itertools import permutations
from typing import Any

import pyarrow.parquet as pq
import pytest

from ingestion.bars.other_bars import read_others
from ingestion.catalog import OHLCV_1D, OTHER_BARS
from ingestion.jobs.audit.compare_sources import CompareRequest, compare_sources
from ingestion.lakehouse import list_parts, read_current, read_part
from ingestion.project import Project
from tests.bars.source_files import COIN, NOW, B, World

HIGH, LOW = "zenith", "abyss"
"""By priority, not by name."""
GAP, DISAGREE, FAR = "2021-05-26", "2021-05-28", "2021-05-30"
BODY = """
    WITHOUT, CLOSES = {without!r}, {closes!r}

    def tables(want):
        table = bars(want)
        columns = table.columns
        kept = [n for n, at in enumerate(columns["time"]) if str(at.date()) not in WITHOUT]
        for n, at in enumerate(columns["time"]):
            columns["close"][n] = CLOSES.get(str(at.date()), columns["close"][n])
        yield BarTable({{name: [each[n] for n in kept] for name, each in columns.items()}})
"""


def declare(
    world: World,
    name: str,
    priority: int,
    closes: Mapping[str, float] = {},
    without: tuple[str, ...] = (),
) -> None:
    path = world.write(BODY.format(without=without, closes=dict(closes)), f", priority={priority}")
    text = path.read_text().replace("BarSource('mine'", f"BarSource({name!r}")
    path.rename(path.with_name(f"{name}.py")).write_text(text)


def fetch(world: World, name: str, code: int = 0) -> dict[str, Any]:
    result = world.fetch(COIN, source=name, words=("--from", "2021-05-24"))
    assert result.exit_code == code, result.output
    return dict(json.loads(result.stdout.splitlines()[0]))


def by_day(rows: list[dict[str, Any]]) -> dict[str, tuple[float, str]]:
    """By the date of the open, close and source."""
    return {
        f"{datetime.fromtimestamp(row['timestamp'], UTC):%Y-%m-%d}": (row["close"], row["source"])
        for row in rows
    }


def others() -> dict[str, tuple[float, str]]:
    return by_day(read_others(Project.from_environment().lakehouse).to_pylist())


@pytest.mark.parametrize("order", list(permutations([HIGH, LOW])), ids="-".join)
def test_the_source_that_stands_first_counts_whoever_came_first(
    world: World, order: tuple[str, ...], at: Callable[[datetime], None]
):
    declare(world, HIGH, 60, {FAR: 10.8}, without=(GAP,))
    declare(world, LOW, 40, {DISAGREE: 10.5})
    days = [f"2021-05-{day}" for day in range(24, 32)] + ["2021-06-01"]
    fetch(world, order[0])
    before = by_day(world.rows())
    then = NOW + timedelta(minutes=1)
    at(NOW + timedelta(hours=1))
    fetch(world, order[1])
    # What counts, and what is kept apart, equal bars too: the same in either order.
    high, low = f"fetch:{HIGH}", f"fetch:{LOW}"
    expected = {day: (10.8 if day == FAR else 10.0, high) for day in days}
    expected[GAP] = (10.0, low)
    assert by_day(world.rows()) == expected
    apart = {day: (10.5 if day == DISAGREE else 10.0, low) for day in days if day != GAP}
    assert others() == apart
    # As of then it is what was known then.
    lakehouse = Project.from_environment().lakehouse
    parts = list_parts(lakehouse, OHLCV_1D)
    assert by_day(read_current(parts, OHLCV_1D, known_at=then).to_pylist()) == before
    # Again, in any order: nothing is written.
    count = len(parts) + len(list_parts(lakehouse, OTHER_BARS))
    for name in (*order, *order):
        assert fetch(world, name)["written"] == 0
    assert len(list_parts(lakehouse, OHLCV_1D) + list_parts(lakehouse, OTHER_BARS)) == count
    # The comparison, by hand.
    (pair,) = json.loads(world.run("compare-sources", "--json").stdout)["pairs"]
    assert (pair["first"], pair["other"], pair["symbols"]) == (HIGH, LOW, 1)
    assert (pair["shared"], pair["differ"]) == (8, 2)
    assert (pair["only_first"], pair["only_other"]) == (0, 1)
    columns = {each["column"]: each for each in pair["columns"]}
    assert {name for name, each in columns.items() if each["differ"]} == {"close"}
    assert columns["close"]["largest"] == pytest.approx(0.8 / 10.8)
    assert columns["close"]["median"] == pytest.approx((0.05 + 0.8 / 10.8) / 2)
    assert [(each["date"], each["counts"], each["other"]) for each in pair["worst"]] == [
        ("2021-05-31", 10.8, 10.0),  # the UTC date of the close
        ("2021-05-29", 10.0, 10.5),
    ]
    # Merged, it is the same; and nothing is damaged.
    at(NOW + timedelta(days=3))
    assert world.run("compact", "--before", "2021-06-03").exit_code == 0
    assert by_day(world.rows()) == expected
    assert others() == apart
    assert json.loads(world.run("compare-sources", "--json").stdout)["pairs"] == [pair]
    assert world.run("verify").exit_code == 0


def test_of_equal_priorities_the_name_decides_and_not_the_time(world: World):
    declare(world, "beta", 50, {DISAGREE: 10.5})
    declare(world, "alpha", 50)
    for name in ("beta", "alpha", "beta"):
        fetch(world, name)
        counts = {source for _, source in by_day(world.rows()).values()}
        assert counts == {"fetch:beta" if name == "beta" and not others() else "fetch:alpha"}
    assert others()[DISAGREE] == (10.5, "fetch:beta")


def test_what_changes_in_a_source_that_does_not_count_is_a_version_of_its_own(
    world: World, at: Callable[[datetime], None]
):
    declare(world, HIGH, 60)
    declare(world, LOW, 40)
    fetch(world, HIGH)
    fetch(world, LOW)
    counts = by_day(world.rows())
    at(NOW + timedelta(hours=1))
    declare(world, LOW, 40, {DISAGREE: 10.5})
    fetch(world, LOW)
    assert by_day(world.rows()) == counts
    assert others()[DISAGREE] == (10.5, f"fetch:{LOW}")
    parts = list_parts(Project.from_environment().lakehouse, OTHER_BARS)
    closes = [row["close"] for part in parts for row in read_part(part, OTHER_BARS).to_pylist()]
    assert sorted(closes) == [10.0] * 8 + [10.0, 10.5]  # both versions of that day are there


def test_files_stand_before_sources_and_a_raised_priority_takes_its_bars_back(world: World):
    declare(world, LOW, 40, {DISAGREE: 10.5})
    fetch(world, LOW)
    rows = read_current(
        list_parts(Project.from_environment().lakehouse, OHLCV_1D), OHLCV_1D
    ).select(["timestamp", "symbol", "open", "high", "low", "close", "volume"])
    file = world.folder / "own.parquet"
    closes = [close + 0.25 * (n in (2, 4)) for n, close in enumerate(rows["close"].to_pylist())]
    pq.write_table(rows.set_column(5, "close", [closes]), file)
    assert world.run("import-bars", str(file)).exit_code == 0
    assert by_day(world.rows())[DISAGREE] == (10.75, "import:own.parquet")
    assert len(others()) == 9
    declare(world, LOW, 140, {DISAGREE: 10.5})
    fetch(world, LOW)
    assert by_day(world.rows())[DISAGREE] == (10.5, f"fetch:{LOW}")
    (pair,) = compare_sources(Project.from_environment(), CompareRequest()).pairs
    assert (pair.first, pair.other, pair.shared, pair.differ) == (LOW, "files", 9, 2)


def test_limits_and_choices_of_a_comparison(world: World):
    assert "no symbol has bars of two sources" in world.run("compare-sources").output
    declare(world, HIGH, 60)
    declare(world, LOW, 40, {DISAGREE: 10.5})
    fetch(world, HIGH)
    fetch(world, LOW)
    beyond = world.run("compare-sources", "--max-share", "0.1")
    assert beyond.exit_code == 3
    assert "zenith and abyss differ on 1 of 9 bars" in str(beyond.exception)
    text = world.run("compare-sources", "--max-share", "0.2")
    assert text.exit_code == 0
    assert f"{COIN} 2021-05-29 close: 10, and 10.5 in abyss (5 %)" in text.output
    assert world.run("local-features").exit_code == 0
    told = world.run("explain", COIN, "local_1d:RSI", "--as-of", "2021-05-29T12:00Z")
    assert f"fetch:{HIGH}" in told.output
    assert "abyss has a bar of this session too, which does not count: close 10.5" in told.output
    for words, shared, differ in (
        (("--tolerance", "0.1"), 9, 0),
        (("--from", "2021-05-30"), 4, 0),
        (("--symbols", COIN, "--to", "2021-05-29"), 5, 1),
    ):
        (pair,) = json.loads(world.run("compare-sources", *words, "--json").stdout)["pairs"]
        assert (pair["shared"], pair["differ"]) == (shared, differ), words
    assert json.loads(world.run("compare-sources", "--symbols", B, "--json").stdout)["pairs"] == []
    wrong = world.run("compare-sources", "--from", "2021-05-30", "--to", "2021-05-29")
    assert wrong.exit_code == 2
    assert date(2021, 5, 30).isoformat() in str(wrong.exception)
