"""Numbers as people write them; what may mean two numbers is none."""

from __future__ import annotations

import math

import pytest
from bars_tools import Import, Rows, Write
from hypothesis import given
from hypothesis import strategies as st

from ingestion.bars.cells import Comma, read_number, read_volume
from ingestion.bars.refusals import Reason
from ingestion.bars.survey import settle_comma
from ingestion.base.errors import InputError


@pytest.mark.parametrize(
    ("text", "comma", "number"),
    [
        ("1234.5", None, 1234.5),
        (" 1e3 ", None, 1000.0),
        ("$12.50", None, 12.5),
        ("-$1.5", None, -1.5),
        ("₹ 1,00,000.50", Comma.THOUSANDS, 100_000.5),
        ("1,234", Comma.THOUSANDS, 1234.0),
        ("1,234", Comma.DECIMAL, 1.234),
        ("1.234", Comma.DECIMAL, 1234.0),
        ("1.234.567,8", Comma.DECIMAL, 1_234_567.8),
        ("12,5", Comma.DECIMAL, 12.5),
        ("1 234,5", Comma.DECIMAL, 1234.5),
        ("1'234.5", None, 1234.5),
        ("1\u00a0234.5", None, 1234.5),
    ],
)
def test_a_number_is_read(text: str, comma: Comma | None, number: float) -> None:
    assert read_number(text, comma) == number


@pytest.mark.parametrize("text", ["", "-", "--", "null", "N/A", "NaN", "#N/A", "\\N", "."])
def test_nothing_is_written_in_many_ways(text: str) -> None:
    assert math.isnan(read_number(text))


@pytest.mark.parametrize(
    ("text", "comma"),
    [
        ("1,234", None),
        ("1,23", Comma.THOUSANDS),
        ("1,00,0", Comma.THOUSANDS),
        ("1.2.3", Comma.THOUSANDS),
        ("1,2,3", Comma.DECIMAL),
        ("ten", None),
        ("12 %", None),
    ],
)
def test_what_may_mean_two_numbers_is_none(text: str, comma: Comma | None) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_number(text, comma)


@pytest.mark.parametrize(
    ("text", "volume"),
    [
        ("1.25M", 1_250_000),
        ("3B", 3e9),
        ("12.5K", 12_500),
        ("1.1m", 1_100_000),
        ("7", 7),
        ("2T", 2e12),
    ],
)
def test_volumes_may_be_in_larger_units(text: str, volume: float) -> None:
    assert read_volume(text) == volume


@given(st.lists(st.decimals(0, 10**7, places=2), min_size=1), st.booleans())
def test_a_files_numbers_are_read_as_they_were_written_or_not_at_all(
    numbers: list[object], english: bool
) -> None:
    texts = [f"{number:,}" for number in numbers]
    if not english:
        texts = [text.translate(str.maketrans(",.", ".,")) for text in texts]
    marked = [text for text in texts if "," in text or text.count(".") > 1]
    dots = any("," not in text and text.count(".") == 1 for text in texts) and english
    comma = settle_comma(marked, dots=dots, default=None)
    assert comma is not None or not marked
    assert [read_number(text, comma) for text in texts] == [float(str(each)) for each in numbers]


DATES = ("2021-03-02", "2021-03-03")


@pytest.mark.parametrize(
    ("delimiter", "cells", "read"),
    [
        (",", '"1,010.5","1,012","1,009","1,011","12,345"', (1010.5, 1012, 1009, 1011, 12_345)),
        (",", '10,12,9,11,"1,000"', (10, 12, 9, 11, 1000)),
        (",", '"10,5","12,25","9,1","11,0","12.345"', (10.5, 12.25, 9.1, 11, 12_345)),
        (";", "10,5;12,25;9,0;11,1;1.000", (10.5, 12.25, 9, 11.1, 1000)),
        (";", "1.010,5;1.012;1.009;1.011;1.000.000", (1010.5, 1012, 1009, 1011, 1e6)),
        (",", "$10,$12,$9,$11,1.5M", (10, 12, 9, 11, 1.5e6)),
    ],
)
def test_a_file_decides_what_its_commas_mean(
    delimiter: str, cells: str, read: tuple[float, ...], run: Import, write: Write, stored: Rows
) -> None:
    lines = "".join(f"{day}{delimiter}{cells}\n" for day in DATES)
    header = delimiter.join(("Date", "Open", "High", "Low", "Close", "Volume"))
    run(write("X.csv", f"{header}\n{lines}"), exchange="NYSE")
    for row in stored():
        assert tuple(row[name] for name in ("open", "high", "low", "close", "volume")) == read


def test_commas_that_nothing_explains_cost_their_rows(run: Import, write: Write) -> None:
    text = "Date;Open;High;Low;Close;Volume\n2021-03-02;10;12;9;11;1,000\n"
    with pytest.raises(InputError, match=Reason.NUMBER):
        run(write("X.csv", text), exchange="NYSE")
