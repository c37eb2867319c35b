"""A leap that returns is a bad bar; one that stays is held back; what is none of a split passes."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from bars_tools import HEADER, Import, Rows, Write, day_of

DAYS = [
    day
    for n in range(40)
    if (day := date(2021, 3, 1) + timedelta(n)).weekday() < 5 and day != date(2021, 4, 2)
]


def file_of(closes: list[float], symbol: str = "NYSE:A", volumes: list[float] | None = None) -> str:
    volumes = volumes or [100.0] * len(closes)
    rows = zip(DAYS, closes, volumes, strict=False)
    return HEADER + "".join(day_of(symbol, str(day), close, n) for day, close, n in rows)


@pytest.mark.parametrize(
    ("closes", "refused", "held"),
    [
        ([1, 1, 1, 10, 10, 10], 0, 3),
        ([100, 100, 100, 0.01, 0.01, 0.01], 0, 3),
        ([100, 100, 0.01, 101, 100], 1, 0),
        ([100, 100, 9000, 9100, 9050, 101, 100], 3, 0),
        ([100, 100, 9000], 0, 1),
        ([100, 100, 650, 640, 660, 655, 650, 640, 101], 0, 7),
        ([100, 101, 560, 570], 0, 0),  # within the limit, and like no split
        ([100, 101, 18, 18.2], 0, 0),
        ([50, 1, *([1.01, 1.0] * 12)], 1, 0),  # a first bar, not all the others
    ],
)
def test_which_bars_are_refused_and_which_held_back(
    closes: list[float], refused: int, held: int, run: Import, write: Write
) -> None:
    result = run(write("v.csv", file_of(closes)))
    assert (result.refused, result.held) == (refused, held)
    assert result.written == len(closes) - refused - held


@pytest.mark.parametrize(
    ("symbol", "closes", "held"),
    [
        ("NYSE:A", [100, 101, 50.3, 50.1], 2),
        ("NYSE:A", [100, 101, 67.1, 66.9], 2),
        ("NYSE:A", [10, 10.1, 20.25, 20.3], 2),
        ("NYSE:A", [100, 101, 65.0, 64.0], 0),  # a crash
        ("NYSE:A", [100, 101, 50.3, 99], 0),  # and back
        ("BINANCE:ABCUSDT", [100, 101, 50.3, 50.1], 0),
        ("OANDA:EURUSD", [100, 101, 50.3, 50.1], 0),
        ("TVC:DXY", [100, 101, 50.3, 50.1], 0),
        ("NYSE:A", [0.01, 0.01, 0.02, 0.02], 0),  # a step of the price
    ],
)
def test_an_open_like_a_split_is_held_back_where_there_are_splits(
    symbol: str, closes: list[float], held: int, run: Import, write: Write
) -> None:
    assert run(write("v.csv", file_of(closes, symbol))).held == held


def test_a_rush_of_volume_tells_a_crash_from_a_split(run: Import, write: Write) -> None:
    closes = [100.0, 101, 100, 102, 51.0, 50]
    crash = file_of(closes, "NYSE:A", [100, 100, 100, 100, 2000, 900])
    split = file_of(closes, "NYSE:B", [100, 100, 100, 100, 220, 190])
    result = run(write("a.csv", crash), write("b.csv", split))
    assert [(each.symbol, each.ratio_text) for each in result.doubts.suspected_splits] == [
        ("NYSE:B", "2:1")
    ]


@pytest.mark.parametrize("ratio", ["2", "1"])
def test_the_file_of_suspects_is_given_back(
    ratio: str, run: Import, write: Write, stored: Rows
) -> None:
    closes = [100.0, 101, 50.3, 50.1]
    path = write("v.csv", file_of(closes))
    result = run(path)
    assert result.suspects_file is not None
    line = result.suspects_file.path.read_text().splitlines()[1]
    assert line.startswith("NYSE:A,2021-03-03T14:30:00Z,2:1,2,")
    edited = result.suspects_file.path.read_text().replace(",2:1,", f",{ratio},")
    result = run(splits=write("answer.csv", edited))
    assert (result.released, result.held) == (2, 0)
    assert [row["close"] for row in stored()] == closes
    assert [row["split_ratio"] for row in stored()] == [1, 1, float(ratio), 1]
    assert run(path).written == 0


@pytest.mark.parametrize(("answer", "ratio"), [("16:1", 16.0), ("4", 4.0)])
def test_a_ratio_that_leaves_a_leap_like_a_split_is_held_back_until_it_is_confirmed(
    answer: str, ratio: float, run: Import, write: Write, stored: Rows
) -> None:
    """The file says four for one, and its prices fall to a sixteenth."""
    closes, splits = [400.0, 404.0, 25.1, 25.0], [0, 0, 4, 0]
    lines = file_of(closes).splitlines()
    rows = [f"{line},{split}" for line, split in zip(lines[1:], splits, strict=True)]
    path = write("v.csv", "\n".join([f"{lines[0]},Stock Splits", *rows]))
    result = run(path)
    assert [(each.ratio_text, each.bars_held) for each in result.doubts.suspected_splits] == [
        ("16:1", 2)
    ]
    assert result.suspects_file is not None
    edited = result.suspects_file.path.read_text().replace(",16:1,", f",{answer},")
    result = run(splits=write("answer.csv", edited))
    assert (result.released, result.held) == (2, 0)
    assert [row["split_ratio"] for row in stored()] == [1, 1, ratio, 1]
    result = run(path)
    assert result.written == 0, "the file does not take the answer back"
