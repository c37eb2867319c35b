"""Dates that no two countries read differently are read; the rest is decided by the column."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from bars_tools import Import, Rows, Write, seconds
from hypothesis import given
from hypothesis import strategies as st

from ingestion.bars.cells import Order, read_date
from ingestion.bars.survey import settle_order
from ingestion.base.errors import InputError

DAY = date(2021, 3, 2)


@pytest.mark.parametrize(
    "text",
    [
        *("2021-03-02", "2021/03/02", "2021.03.02", "2021_03_02", "2021 03 02", "2021-3-2"),
        *("20210302", "2021年3月2日", "2021年03月02日"),
        *("2-Mar-2021", "02-MAR-2021", "2-Mar-21", "02/Mar/2021", "2 March 2021", "02MAR2021"),
        *("2nd March, 2021", "Mar 2, 2021", "Mar 02, 2021", "Mar. 2 2021", "March 2nd, 2021"),
        *("2021-Mar-02", "2021 March 2", "Tue, 2-Mar-21", "Tuesday, March 2, 2021"),
        *("Tue Mar 2 2021", "02-march-2021"),
    ],
)
def test_a_date_is_read_without_being_told_its_form(text: str) -> None:
    assert read_date(text) == DAY or read_date(text) == datetime(2021, 3, 2)


@pytest.mark.parametrize("text", ["15/03/2021", "15.3.2021", "15-03-2021", "3/15/2021", "3/15/21"])
def test_a_day_over_twelve_is_one(text: str) -> None:
    assert read_date(text) == date(2021, 3, 15)


@pytest.mark.parametrize(
    "text",
    [
        *("03/02/2021", "03.02.2021", "3-2-21", "15/03/21", "01/02/03"),
        *("13/13/2021", "31/02/2021", "30-Feb-2021", "Mar-21", "March 2021", "2021-03", "2021"),
        *("2 Foo 2021", "soon", "02/03-2021", "", "12:30", "25:61 2 Mar 2021"),
    ],
)
def test_what_two_countries_read_differently_and_what_is_no_date_are_not_read(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_date(text)


@pytest.mark.parametrize(
    ("text", "when"),
    [
        ("3/15/2021 4:00:00 PM", datetime(2021, 3, 15, 16)),
        ("15/03/2021 12:00:00 AM", datetime(2021, 3, 15)),
        ("2021-03-15 12:30 p.m.", datetime(2021, 3, 15, 12, 30)),
        ("15.03.2021 00:00:00.000", datetime(2021, 3, 15)),
        ("2021/03/15 09:30:00.25", datetime(2021, 3, 15, 9, 30, 0, 250_000)),
        ("15 Mar 2021 14:30 UTC", datetime(2021, 3, 15, 14, 30, tzinfo=UTC)),
        ("2021/03/15T14:30:00Z", datetime(2021, 3, 15, 14, 30, tzinfo=UTC)),
        ("Mon, 15 Mar 2021 00:00:00 GMT", datetime(2021, 3, 15, tzinfo=UTC)),
        # Midnight in a zone of some name is the label of its date.
        ("Mon Mar 15 00:00:00 EDT 2021", datetime(2021, 3, 15)),
        ("Mon Mar 15 00:00:00 2021", datetime(2021, 3, 15)),
    ],
)
def test_a_time_of_day_may_follow(text: str, when: datetime) -> None:
    assert read_date(text) == when


def test_an_offset_is_kept() -> None:
    for text in (
        "Mon Mar 15 2021 09:30:00 GMT-0400 (Eastern Daylight Time)",
        "15-Mar-2021 09:30 -04:00",
    ):
        read = read_date(text)
        assert isinstance(read, datetime)
        assert read.utcoffset() == timedelta(hours=-4)
        assert read == datetime(2021, 3, 15, 13, 30, tzinfo=UTC)


FORMS = [
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%y",
    "%m-%d-%y",
    "%Y/%m/%d",
    "%d %b %Y",
    "%B %d, %Y",
    "%y/%m/%d",
]


@given(
    st.sets(st.dates(date(1969, 1, 1), date(2068, 12, 31)), min_size=1, max_size=20),
    st.sampled_from(FORMS),
)
def test_a_column_is_read_as_it_was_written_or_not_at_all(days: set[date], form: str) -> None:
    texts = {day.strftime(form): day for day in days}
    order = settle_order(texts)
    for text, day in texts.items():
        try:
            read = read_date(text, order)
        except ValueError:
            # Then there is another day that it may mean, in every text of the column.
            assert order is None
            continue
        assert read == day


@given(
    st.sets(st.dates(date(2000, 1, 1), date(2030, 12, 31)), min_size=1), st.sampled_from(FORMS[:2])
)
def test_one_day_over_twelve_settles_a_column(days: set[date], form: str) -> None:
    proof = date(2021, 3, 13)
    assert settle_order([day.strftime(form) for day in {*days, proof}]) == Order(form)


LINE = "{},10,12,9,11,1000\n"


def test_the_other_rows_of_a_column_follow_the_one_that_proves_its_order(
    run: Import, write: Write, stored: Rows
) -> None:
    texts = ("02/03/2021", "03/03/2021", "15/03/2021")
    text = "Date,Open,High,Low,Close,Volume\n" + "".join(map(LINE.format, texts))
    run(write("X.csv", text), exchange="NYSE")
    assert [row["timestamp"] for row in stored()] == [
        seconds("2021-03-02 14:30"),
        seconds("2021-03-03 14:30"),
        seconds("2021-03-15 13:30"),
    ]


def test_proofs_of_two_orders_refuse_the_file(run: Import, write: Write) -> None:
    texts = ("15/03/2021", "02/03/2021", "03/16/2021")
    text = "Date,Open,High,Low,Close,Volume\n" + "".join(map(LINE.format, texts))
    with pytest.raises(InputError, match=r"'15/03/2021' and '03/16/2021' .* --date-format"):
        run(write("X.csv", text), exchange="NYSE")


def test_dates_that_nothing_proves_are_refused_with_the_forms_that_are_read(
    run: Import, write: Write, stored: Rows
) -> None:
    path = write("X.csv", "Date,Open,High,Low,Close,Volume\n" + LINE.format("02/03/2021"))
    with pytest.raises(InputError, match=r"2021-03-15, 20210315 .*give --date-format for others"):
        run(path, exchange="NYSE")
    run(path, exchange="NYSE", date_format="%m/%d/%Y")
    assert [row["timestamp"] for row in stored()] == [seconds("2021-02-03 14:30")]


@pytest.mark.parametrize(
    ("text", "form"),
    [("02032021", "%d%m%Y"), ("210302", "%y%m%d"), ("2;3;21", "%d;%m;%y"), ("061/2021", "%j/%Y")],
)
def test_a_form_that_is_given_is_tried_first(
    text: str, form: str, run: Import, write: Write, stored: Rows
) -> None:
    lines = LINE.format(f'"{text}"') + LINE.format("2021-03-03")
    run(
        write("X.csv", "Date,Open,High,Low,Close,Volume\n" + lines),
        exchange="NYSE",
        date_format=form,
    )
    assert [row["timestamp"] for row in stored()] == [
        seconds("2021-03-02 14:30"),
        seconds("2021-03-03 14:30"),
    ]


@pytest.mark.parametrize("form", ["%d/%m", "%Q", "yyyy-mm-dd", ""])
def test_a_form_that_gives_no_date_is_an_error(form: str, run: Import, write: Write) -> None:
    path = write("X.csv", "Date,Open,High,Low,Close,Volume\n" + LINE.format("2021-03-02"))
    with pytest.raises(InputError, match=r"--date-format .* gives no whole date"):
        run(path, exchange="NYSE", date_format=form)
