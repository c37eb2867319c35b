"""A split whose ex-date has no bar takes effect at the next bar, and moves when one comes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from bars_tools import HEADER, Import, Rows, Write, day_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion.catalog import OHLCV_1D
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project

A = "NYSE:A"
DAYS = ("2021-03-01", "2021-03-02", "2021-03-03", "2021-03-04", "2021-03-05")
BEFORE, AFTER = 40.0, 10.0


def bars(*days: str, ex_date: str = "2021-03-03", symbol: str = A) -> str:
    """Lines of a split of 4:1: the money of each day, as traded."""
    return HEADER + "".join(day_of(symbol, day, BEFORE if day < ex_date else AFTER) for day in days)


def split(write: Write, *lines: str, name: str = "splits.csv"):
    return write(name, "symbol,date,ratio\n" + "".join(f"{line}\n" for line in lines))


def ratios(stored: Rows, symbol: str = A) -> dict[str, float]:
    return {
        f"{row['event_timestamp']:%Y-%m-%d}": row["split_ratio"]
        for row in stored()
        if row["symbol"] == symbol
    }


def test_it_takes_effect_at_the_next_bar(run: Import, write: Write, stored: Rows) -> None:
    path = write("v.csv", bars(DAYS[0], DAYS[1], DAYS[3], DAYS[4]))
    result = run(path, splits=split(write, "NYSE:A,2021-03-03,4"))
    assert (result.held, result.refused, result.splits_ahead) == (0, 0, 1)
    assert ratios(stored) == {DAYS[0]: 1, DAYS[1]: 1, DAYS[3]: 4, DAYS[4]: 1}
    assert run(path).written == 0


@pytest.mark.parametrize("order", ["splits first", "bars first", "a day at a time"])
def test_whatever_comes_first(order: str, run: Import, write: Write, stored: Rows) -> None:
    splits = split(write, "NYSE:A,2021-03-03,4")
    days = DAYS[0], DAYS[1], DAYS[3], DAYS[4]
    path = write("v.csv", bars(*days))
    if order == "splits first":
        run(splits=splits)
        run(path)
    elif order == "bars first":
        assert run(path).held == 2  # an open at a fourth looks like a split
        assert run(splits=splits).released == 2
    else:
        run(splits=splits)
        for day in days:
            assert run(write(f"{day}.csv", bars(day))).written == 1
    assert ratios(stored) == {DAYS[0]: 1, DAYS[1]: 1, DAYS[3]: 4, DAYS[4]: 1}


@pytest.mark.parametrize("late", ["2021-03-03", "2021-03-04"])
def test_it_moves_to_a_bar_that_comes_between(
    late: str, run: Import, write: Write, stored: Rows
) -> None:
    days = DAYS[0], DAYS[1], DAYS[4]
    run(write("v.csv", bars(*days)), splits=split(write, "NYSE:A,2021-03-03,4"))
    assert ratios(stored)[DAYS[4]] == 4
    result = run(write("late.csv", bars(late)))
    assert (result.written, result.restated) == (1, 1)
    assert ratios(stored) == {DAYS[0]: 1, DAYS[1]: 1, late: 4, DAYS[4]: 1}
    # … and no further: a bar before the ex-date is in the old money.
    run(write("first.csv", bars("2021-02-26")))
    assert ratios(stored) == {"2021-02-26": 1, DAYS[0]: 1, DAYS[1]: 1, late: 4, DAYS[4]: 1}


def test_several_multiply_and_part_again(run: Import, write: Write, stored: Rows) -> None:
    lines = [day_of(A, DAYS[0], 120.0), day_of(A, DAYS[1], 120.0), day_of(A, DAYS[4], 10.0)]
    path = write("v.csv", HEADER + "".join(lines))
    run(path, splits=split(write, "NYSE:A,2021-03-03,4", "NYSE:A,2021-03-04,3"))
    assert ratios(stored) == {DAYS[0]: 1, DAYS[1]: 1, DAYS[4]: 12}
    run(write("late.csv", HEADER + day_of(A, DAYS[2], 30.0)))
    assert ratios(stored) == {DAYS[0]: 1, DAYS[1]: 1, DAYS[2]: 4, DAYS[4]: 3}
    run(write("later.csv", HEADER + day_of(A, DAYS[3], 10.0)))
    assert ratios(stored) == {DAYS[0]: 1, DAYS[1]: 1, DAYS[2]: 4, DAYS[3]: 3, DAYS[4]: 1}


def test_the_split_of_a_row_that_was_refused_is_not_lost(
    run: Import, write: Write, stored: Rows
) -> None:
    header = HEADER.replace("volume", "volume,split_ratio")
    good = [bars(day).removeprefix(HEADER).replace("\n", ",1\n") for day in DAYS]
    bad = f"{DAYS[2]},{A},10,9,8,10,100,4\n"
    path = write("v.csv", header + good[0] + good[1] + bad + good[3] + good[4])
    result = run(path)
    assert (result.refused, result.held, result.splits_ahead) == (1, 0, 1)
    assert ratios(stored) == {DAYS[0]: 1, DAYS[1]: 1, DAYS[3]: 4, DAYS[4]: 1}
    assert run(path).written == 0
    run(write("mended.csv", header + good[2].replace(",1\n", ",4\n")))
    assert ratios(stored) == {DAYS[0]: 1, DAYS[1]: 1, DAYS[2]: 4, DAYS[3]: 1, DAYS[4]: 1}


def test_one_split_that_two_sources_date_differently_counts_once(
    run: Import, write: Write, stored: Rows
) -> None:
    header = HEADER.replace("volume", "volume,split_ratio")
    ratio = {DAYS[3]: "4"}
    lines = [
        bars(day).removeprefix(HEADER).replace("\n", f",{ratio.get(day, '1')}\n")
        for day in (DAYS[0], DAYS[1], DAYS[3], DAYS[4])
    ]
    run(write("v.csv", header + "".join(lines)), splits=split(write, "NYSE:A,2021-03-03,4"))
    assert ratios(stored) == {DAYS[0]: 1, DAYS[1]: 1, DAYS[3]: 4, DAYS[4]: 1}


def test_adjusted_prices_are_turned_back_by_it(run: Import, write: Write, stored: Rows) -> None:
    days = DAYS[0], DAYS[1], DAYS[3], DAYS[4]
    path = write("v.csv", HEADER + "".join(day_of(A, day, AFTER, 400.0) for day in days))
    run(path, splits=split(write, "NYSE:A,2021-03-03,4"), adjusted=True)
    assert [row["close"] for row in stored()] == [BEFORE, BEFORE, AFTER, AFTER]
    assert [row["volume"] for row in stored()] == [100.0, 100.0, 400.0, 400.0]
    assert ratios(stored) == {DAYS[0]: 1, DAYS[1]: 1, DAYS[3]: 4, DAYS[4]: 1}
    # What the lakehouse knows need not be given again.
    assert run(path, adjusted=True).written == 0


def test_nothing_takes_effect_at_a_first_bar(run: Import, write: Write, stored: Rows) -> None:
    run(splits=split(write, "NYSE:A,2021-03-01,4"))
    run(write("v.csv", bars(DAYS[3], DAYS[4])))
    assert ratios(stored) == {DAYS[3]: 1, DAYS[4]: 1}
    run(write("before.csv", bars("2021-02-25", "2021-02-26")))
    assert ratios(stored) == {"2021-02-25": 1, "2021-02-26": 1, DAYS[3]: 4, DAYS[4]: 1}


def test_a_halt_of_weeks_does_not_lose_it(run: Import, write: Write, stored: Rows) -> None:
    """Longer than bars are compared over, and other symbols trade meanwhile."""
    run(splits=split(write, "NYSE:A,2021-03-31,4"))
    run(write("a.csv", bars(DAYS[0], DAYS[1])))
    run(write("b.csv", bars("2021-03-31", "2021-04-01", symbol="NYSE:B")))
    run(write("c.csv", bars("2021-05-03")))
    assert ratios(stored) == {DAYS[0]: 1, DAYS[1]: 1, "2021-05-03": 4}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_the_order_in_which_bars_come_does_not_matter(
    data: st.DataObject, lakehouse: Project
) -> None:
    """Oracle: the ratio stands on the first bar of the day of a split or after it."""
    there = sorted(data.draw(st.sets(st.sampled_from(DAYS), min_size=2)))
    order = data.draw(st.permutations(there))
    ex_date = data.draw(st.sampled_from(DAYS))
    when = data.draw(st.integers(0, len(order)))
    with TemporaryDirectory() as folder:
        fresh = replace(lakehouse, lakehouse_at=Path(folder) / "lakehouse")

        def load(name: str, text: str) -> None:
            path = Path(folder) / name
            path.write_text(text)
            is_split = name == "splits.csv"
            files = () if is_split else (path,)
            import_bars(fresh, ImportRequest(files, splits=path if is_split else None))

        for n, day in enumerate([*order, ""]):
            if n == when:
                load("splits.csv", f"symbol,date,ratio\nNYSE:A,{ex_date},4\n")
            if day:
                load(f"{n}.csv", bars(day, ex_date=ex_date))
        rows = read_current(list_parts(fresh.lakehouse, OHLCV_1D), OHLCV_1D).to_pylist()
    found = {f"{row['event_timestamp']:%Y-%m-%d}": row["split_ratio"] for row in rows}
    expected = dict.fromkeys(there, 1.0)
    after = [day for day in there if day >= ex_date]
    if after and (after[0] != there[0] or after[0] == ex_date):
        expected[after[0]] = 4.0
    assert found == expected
