"""Prices that contradict their splits are refused, with the option to give; a scaled past too."""

from __future__ import annotations

import pytest
from bars_tools import HEADER, Import, Rows, Write, day_of

from ingestion.bars.duplicates import Pattern
from ingestion.bars.refusals import Reason
from ingestion.base.errors import InputError

DAYS = ("2021-03-01", "2021-03-02", "2021-03-03", "2021-03-04", "2021-03-05")
TRADED = (400.0, 404.0, 102.0, 101.0, 103.0)
ADJUSTED = (100.0, 101.0, 102.0, 101.0, 103.0)
TWICE = (25.0, 25.25, 102.0, 101.0, 103.0)
EX_DATE = DAYS[2]


def lines(closes: tuple[float, ...], symbol: str = "NYSE:A", ratio: str | None = None) -> str:
    """Bars below a header; with a split column where a ratio is given."""
    text = ""
    for day, close in zip(DAYS, closes, strict=True):
        line = day_of(symbol, day, close)
        said = "" if ratio is None else f",{ratio if day == EX_DATE else 1}"
        text += line.replace("\n", f"{said}\n")
    return text


def header(with_splits: bool) -> str:
    return HEADER.replace("volume", "volume,split_ratio") if with_splits else HEADER


@pytest.mark.parametrize(
    ("closes", "ratio", "adjusted", "advice"),
    [
        (ADJUSTED, "4", False, "give --adjusted"),
        (TRADED, "4", True, "leave --adjusted out"),
        (TRADED, "0.25", False, "upside down"),
        (TWICE, "4", True, "applied the split twice"),
        (ADJUSTED, "20", False, "give --adjusted"),
        (ADJUSTED, "0.1", False, "give --adjusted"),
    ],
)
@pytest.mark.parametrize("given_by", ["column", "splits file", "lakehouse"])
def test_a_contradiction_is_refused_with_what_to_do(
    closes: tuple[float, ...],
    ratio: str,
    adjusted: bool,
    advice: str,
    given_by: str,
    run: Import,
    write: Write,
    stored: Rows,
) -> None:
    splits = write("splits.csv", f"symbol,date,ratio\nNYSE:A,{EX_DATE},{ratio}\n")
    if given_by == "lakehouse":
        run(splits=splits)
    column = ratio if given_by == "column" else None
    path = write("v.csv", header(column is not None) + lines(closes, ratio=column))
    with pytest.raises(InputError, match=advice):
        run(path, adjusted=adjusted, splits=splits if given_by == "splits file" else None)
    assert stored() == []


def test_only_the_symbols_that_contradict_are_refused(
    run: Import, write: Write, stored: Rows
) -> None:
    text = lines(ADJUSTED, "NYSE:A", "4") + lines(TRADED, "NYSE:B", "4")
    result = run(write("v.csv", header(True) + text))
    assert result.refused_by_reason == {Reason.ADJUSTMENT: 5}
    assert [each.symbol for each in result.doubts.contradictions] == ["NYSE:A"]
    assert {row["symbol"] for row in stored()} == {"NYSE:B"}


def test_small_ratios_are_taken_as_they_are_given_and_counted(
    run: Import, write: Write, stored: Rows
) -> None:
    result = run(write("v.csv", header(True) + lines(ADJUSTED, ratio="1.25")))
    assert (result.refused, result.written) == (0, 5)
    assert [(each.name, each.count) for each in result.findings] == [("splits_not_told", 1)]


def test_a_past_that_is_scaled_is_refused_unless_asked_for(
    run: Import, write: Write, stored: Rows
) -> None:
    """By dividends, in two steps: no price leaps."""
    run(write("v.csv", HEADER + lines(ADJUSTED)))
    before = stored()
    scaled = tuple(
        close * factor
        for close, factor in zip(ADJUSTED, (0.97, 0.97, 0.985, 0.985, 1), strict=True)
    )
    path = write("adj.csv", HEADER + lines(scaled))
    with pytest.raises(InputError, match=r"all scaled, by 0\.985 in 2 steps, to 0\.97.*--restate"):
        run(path)
    assert stored() == before
    assert run(path, restate=True).restated == 4
    assert [row["close"] for row in stored()] == list(scaled)


def test_adjusted_prices_over_traded_ones_are_refused(
    run: Import, write: Write, stored: Rows
) -> None:
    run(write("v.csv", header(True) + lines(TRADED, ratio="4")))
    with pytest.raises(InputError, match="give --adjusted"):
        run(write("adj.csv", HEADER + lines(ADJUSTED)))
    adjusted = write("adj2.csv", HEADER + lines(ADJUSTED).replace(",100.0\n", ",400.0\n"))
    run(adjusted, adjusted=True)
    assert [row["close"] for row in stored()] == list(TRADED)


def test_single_bars_that_are_restated_need_no_option(run: Import, write: Write) -> None:
    run(write("v.csv", HEADER + lines(ADJUSTED)))
    one = (*ADJUSTED[:2], 101.7, *ADJUSTED[3:])
    result = run(write("w.csv", HEADER + lines(one)))
    assert (result.restated, result.doubts.restatements) == (1, [])
    assert Pattern.SINGLE == "single bars"


def test_prices_as_small_as_a_number_can_be_are_compared_too(run: Import, write: Write) -> None:
    tiny = f"{DAYS[0]},NYSE:A,1e-320,1e-320,1e-320,1e-320,10,1\n"
    calm = f"{DAYS[1]},NYSE:A,10,10,10,10,10,10\n"
    with pytest.raises(InputError, match=r"price after ÷ before: inf"):
        run(write("v.csv", header(with_splits=True) + tiny + calm))
