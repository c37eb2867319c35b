"""A bad row is refused with its number and reason, and costs no other row."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

import pyarrow.parquet as pq
import pytest
from bars_tools import HEADER, Import, Rows, Write, day_of, utc

from ingestion.bars import refusals
from ingestion.bars.refusals import Reason
from ingestion.base.errors import InputError
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.project import Project

GOOD = day_of("NYSE:A", "2021-03-01"), day_of("NYSE:A", "2021-03-03")


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ("2021-03-02,NYSE:A,10,9,8,9,1", Reason.OHLC, "open 10, high 9, low 8, close 9"),
        ("2021-03-02,NYSE:A,10,12,9,13,1", Reason.OHLC, "close 13"),
        ("2021-03-02,NYSE:A,10,12,11,11,1", Reason.OHLC, "low 11"),
        ("2021-03-02,NYSE:A,10,12,9,8,1", Reason.OHLC, "close 8"),
        ("2021-03-02,NYSE:A,0,12,0,11,1", Reason.PRICE, "open 0"),
        ("2021-03-02,NYSE:A,-1,12,-2,11,1", Reason.PRICE, "open -1"),
        ("2021-03-02,NYSE:A,10,inf,9,11,1", Reason.PRICE, "high inf"),
        ("2021-03-02,NYSE:A,10,,9,11,1", Reason.NUMBER, "low 9"),
        ("2021-03-02,NYSE:A,null,null,null,null,null", Reason.NUMBER, ""),
        ('2021-03-02,NYSE:A,"1,00,0",1200,900,1100,1', Reason.NUMBER, "high 1200"),
        ("2021-03-02,NYSE:A,10,12,9,11,many", Reason.NUMBER, "close 11"),
        ("2021-03-02,NYSE:A,10,12,9,11,-1", Reason.VOLUME, "volume -1"),
        ("2021-03-02,NYSE:A,10,12,9,11,inf", Reason.VOLUME, "volume inf"),
        ("2021-03-02,NYSE:A,10,12,9,11,", Reason.VOLUME, "close 11"),
        ("02/03/2021,NYSE:A,10,12,9,11,1", Reason.TIME, "02/03/2021"),
        ("2021-03-06,NYSE:A,10,12,9,11,1", Reason.SESSION, "2021-03-06"),
        ("2021-06-01,NYSE:A,10,12,9,11,1", Reason.FUTURE, "2021-06-01"),
        ("2021-03-02,NYSE:A B,10,12,9,11,1", Reason.SYMBOL, "'NYSE:A B'"),
        ("2021-03-02,,10,12,9,11,1", Reason.SYMBOL, "no symbol"),
        ("2021-03-02,NYSE:A,10,12,9,11", Reason.CELLS, ""),
        ("2021-03-02,NYSE:A,10,12,9,11,1,1", Reason.CELLS, ""),
        ("2021-03-02,NYSE:A,100,102,99,101,1", Reason.RETURN, "return 910.0%"),
    ],
)
def test_a_bad_row_is_refused_between_good_ones(
    line: str, reason: Reason, detail: str, run: Import, write: Write, stored: Rows
) -> None:
    path = write("vendor.csv", f"{HEADER}{GOOD[0]}{line}\n{GOOD[1]}")
    result = run(path)
    (refusal,) = result.refusals
    assert (refusal.file, refusal.row, refusal.reason) == (str(path), 2, reason)
    assert detail in refusal.detail
    assert (result.read, result.accepted, result.refused, result.written) == (3, 2, 1, 2)
    assert [row["event_timestamp"] for row in stored()] == [
        utc("2021-03-01 21:00"),
        utc("2021-03-03 21:00"),
    ]


@pytest.mark.parametrize("ratio", ["-2", "inf"])
def test_an_impossible_split_ratio_is_refused(ratio: str, run: Import, write: Write) -> None:
    header = HEADER.replace("\n", ",split_ratio\n")
    lines = [line.replace("\n", ",1\n") for line in GOOD]
    bad = day_of("NYSE:A", "2021-03-02").replace("\n", f",{ratio}\n")
    result = run(write("vendor.csv", header + lines[0] + bad + lines[1]))
    assert [(refusal.row, refusal.reason) for refusal in result.refusals] == [(2, Reason.SPLIT)]


def test_a_rounding_error_is_no_violation(run: Import, write: Write) -> None:
    line = "2021-03-02,NYSE:A,10,10.3,9.9,10.300000000000001,1\n"
    assert run(write("vendor.csv", HEADER + line)).accepted == 1


def test_dealers_may_leave_the_volume_out(run: Import, write: Write, stored: Rows) -> None:
    run(
        write("a.csv", HEADER + "2021-03-02,OANDA:EURUSD,1.2,1.3,1.1,1.2,\n"),
        write("OANDA_GBPUSD_1d.csv", "date,open,high,low,close\n2021-03-02,1.3,1.4,1.2,1.3\n"),
    )
    assert [row["volume"] for row in stored()] == [0.0, 0.0]


def test_equal_duplicates_collapse_and_others_are_refused(
    run: Import, write: Write, stored: Rows
) -> None:
    equal = day_of("NYSE:A", "2021-03-01")
    instant = day_of("NYSE:A", "2021-03-01T14:30:00Z")
    one, other = day_of("NYSE:A", "2021-03-02"), day_of("NYSE:A", "2021-03-02", 10.5)
    first = write("first.csv", HEADER + equal + one + equal + other)
    second = write("second.csv", HEADER + instant + day_of("NYSE:B", "2021-03-02"))
    result = run(first, second)
    assert [(refusal.row, refusal.reason) for refusal in result.refusals] == [
        (2, Reason.DUPLICATE),
        (4, Reason.DUPLICATE),
    ]
    assert [(each.accepted, each.repeated, each.refused) for each in result.files] == [
        (0, 2, 2),
        (2, 0, 0),
    ]
    assert [row["symbol"] for row in stored()] == ["NYSE:A", "NYSE:B"]


@pytest.mark.parametrize("bad", [1.0, 1000.0])
def test_a_spike_costs_itself_and_not_its_neighbours(bad: float, run: Import, write: Write) -> None:
    closes = [("2021-03-01", 10.0), ("2021-03-02", bad), ("2021-03-03", 10.2), ("2021-03-04", 10.1)]
    text = HEADER + "".join(day_of("NYSE:A", day, close) for day, close in closes)
    for limit in (5.0, 0.5):
        result = run(write("vendor.csv", text), max_return=limit)
        assert [(row.row, row.reason) for row in result.refusals] == [(2, Reason.RETURN)]


def test_what_follows_a_lasting_leap_is_held_back_and_the_limit_can_be_raised(
    run: Import, write: Write, stored: Rows
) -> None:
    days = [("2021-03-01", 1.0), ("2021-03-02", 10.0), ("2021-03-03", 10.0), ("2021-03-04", 10.0)]
    path = write("v.csv", HEADER + "".join(day_of("NYSE:A", day, close) for day, close in days))
    result = run(path)
    assert (result.refused, result.held, result.written) == (0, 3, 1)
    assert [row["close"] for row in stored()] == [1.0]
    lines = (day_of("NYSE:B", day, 1.13 * close) for day, close in days[1:])
    other = write("w.csv", HEADER + day_of("NYSE:B", *days[0]) + "".join(lines))
    assert run(other).held == 3
    assert run(other, max_return=11.0).held == 0


def test_bars_that_come_one_at_a_time_are_judged_together(
    run: Import, write: Write, stored: Rows
) -> None:
    """The bar that leaps waits until the next ones tell that it was a bad one."""
    outcomes = []
    for day, close in (("2021-03-01", 10.0), ("2021-03-02", 1000.0), ("2021-03-03", 10.2)):
        result = run(write(f"{day}.csv", HEADER + day_of("NYSE:A", day, close)))
        outcomes.append((result.written, result.held, result.refused_by_reason.get(Reason.RETURN)))
    assert outcomes == [(1, 0, None), (0, 1, None), (1, 0, 1)]
    assert [row["close"] for row in stored()] == [10.0, 10.2]
    long_after = write("later.csv", HEADER + day_of("NYSE:A", "2021-05-03", 1000.0))
    assert run(long_after).written == 1


def test_a_recorded_split_explains_a_leap(run: Import, write: Write, stored: Rows) -> None:
    bars = HEADER + day_of("NYSE:A", "2021-03-01", 1.0) + day_of("NYSE:A", "2021-03-02", 10.0)
    path = write("v.csv", bars)
    assert run(path).held == 1
    result = run(splits=write("splits.csv", "symbol,date,ratio\nNYSE:A,2021-03-02,1:10\n"))
    assert (result.released, result.held) == (1, 0)
    for _ in range(2):
        result = run(path)
        assert (result.refused, result.held, result.written) == (0, 0, 0)
    assert [row["split_ratio"] for row in stored()] == [1.0, 0.1]


def test_returns_are_split_adjusted_and_never_cross_symbols(run: Import, write: Write) -> None:
    header = HEADER.replace("\n", ",split_coefficient\n")
    lines = [
        day_of("NYSE:A", "2021-03-01", 1.0).replace("\n", ",1\n"),
        day_of("NYSE:A", "2021-03-02", 10.0).replace("\n", ",0.1\n"),
        day_of("NYSE:B", "2021-03-03", 900.0).replace("\n", ",1\n"),
    ]
    assert run(write("v.csv", header + "".join(lines))).refused == 0


def test_the_receipt_counts_all_refusals_and_shows_the_first_of_each_reason(
    run: Import, write: Write
) -> None:
    """The rare reason is the interesting one."""
    bad = "".join(f"2021-03-06,NYSE:S{n},10,12,9,11,1\n" for n in range(1_200))
    rare = "2021-03-02,NYSE:RARE,10,12,9,13,1\n"
    path = write("v.csv", HEADER + bad + GOOD[0] + rare)
    result = run(path)
    receipt = json.loads(result.receipt.path.read_text())
    assert result.receipt.path.parent.name == result.run_id == receipt["run_id"]
    assert receipt["refused_by_reason"] == {str(Reason.SESSION): 1_200, str(Reason.OHLC): 1}
    assert [each["symbol"] for each in receipt["refusals"]] == [
        *(f"NYSE:S{n}" for n in range(20)),
        "NYSE:RARE",
    ]
    assert receipt["refusals"][0] == {
        "file": str(path),
        "row": 1,
        "symbol": "NYSE:S0",
        "reason": "no session on that date",
        "detail": "2021-03-06: NYSE has no session on Saturday 2021-03-06; if it traded, "
        "write it to sessions.csv",
    }
    assert receipt["files"] == [
        {
            "file": str(path),
            "read": 1_202,
            "accepted": 1,
            "repeated": 0,
            "refused": 1_201,
            "held": 0,
            "written": 1,
            "unchanged": 0,
            "named": None,
            "problem": None,
        }
    ]


def test_every_refused_row_is_in_a_file_that_the_receipt_names(
    lakehouse: Project, run: Import, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "_ROWS_AT_ONCE", 7)
    bad = "".join(f"2021-03-06,NYSE:S{n},10,12,9,11,1\n" for n in range(30))
    path = write("v.csv", HEADER + bad + GOOD[0])
    result = run(path)
    assert result.refused_file.path == result.receipt.path.with_name("refused_bars.parquet")
    assert json.loads(result.receipt.path.read_text())["refused_file"] == str(result.refused_file)
    assert pq.read_table(result.refused_file.path).to_pylist() == [
        {
            "file": str(path),
            "row": n + 1,
            "symbol": f"NYSE:S{n}",
            "reason": "no session on that date",
            "detail": "2021-03-06: NYSE has no session on Saturday 2021-03-06; if it traded, "
            "write it to sessions.csv",
        }
        for n in range(30)
    ]
    assert check_lakehouse(lakehouse).faults == []
    result.refused_file.path.write_bytes(b"PAR1")
    (fault,) = check_lakehouse(lakehouse).faults
    assert "refused_bars.parquet" in str(fault)


def test_without_refusals_there_is_no_such_file(run: Import, write: Write) -> None:
    result = run(write("v.csv", HEADER + GOOD[0]))
    assert result.refused_file is None
    assert {path.suffix for path in result.receipt.path.parent.iterdir()} == {".json", ".jsonl"}


def test_an_import_that_accepts_nothing_lists_its_refusals_too(
    lakehouse: Project, run: Import, write: Write
) -> None:
    with pytest.raises(InputError, match=r"refused_bars\.parquet"):
        run(write("v.csv", HEADER + day_of("NYSE:A", "2021-03-06") * 40))
    (path,) = lakehouse.lakehouse_at.glob("_runs/*/refused_bars.parquet")
    assert pq.read_table(path)["row"].to_pylist() == list(range(1, 41))
    assert not list(lakehouse.lakehouse_at.glob("_tmp/*"))


def test_nothing_accepted_is_an_error_with_the_commonest_reason(
    run: Import, write: Write, stored: Rows
) -> None:
    lines = "2021-03-02,NYSE:A,10,9,8,9,1\n" + day_of("NYSE:A", "2021-03-06") * 2
    with pytest.raises(InputError, match=r'not one of 3 rows .* "no session on that date"'):
        run(write("v.csv", HEADER + lines))
    assert stored() == []


def test_a_bar_is_accepted_from_its_close_on(
    run: Import, write: Write, at: Callable[[datetime], None]
) -> None:
    path = write("v.csv", HEADER + day_of("NYSE:A", "2021-03-03"))
    at(utc("2021-03-03 20:59:59"))
    with pytest.raises(InputError, match="closes in the future"):
        run(path)
    at(utc("2021-03-03 21:00:00"))
    assert run(path).written == 1
