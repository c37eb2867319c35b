"""Sessions that calendars lack, and a project's own. Right values are the exchanges' circulars."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
from exchange_calendars import get_calendar

from ingestion.base.errors import InputError
from ingestion.cli import main
from ingestion.markets.calendars import SHIPPED, calendar_of, read_sessions
from ingestion.markets.exchanges import CALENDARS, HOLIDAYS_KNOWN_UNTIL
from ingestion.markets.hours import known_bar_close
from ingestion.markets.sessions import (
    calendar_ends,
    previous_close,
    session_bounds,
    sessions_between,
)

HEADER = "exchange,date,open,close\n"


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a project's own sessions, not there yet."""
    (tmp_path / "feature_repo").mkdir()
    monkeypatch.setenv("TVFEAST_PROJECT", str(tmp_path))
    return tmp_path / "feature_repo" / "sessions.csv"


@pytest.mark.parametrize(
    ("label", "opens", "closes"),
    [
        ("2015-02-28", "03:45", "10:00"),  # the budget, on a Saturday
        ("2020-02-01", "03:45", "10:00"),
        ("2025-02-01", "03:45", "10:00"),
        ("2026-02-01", "03:45", "10:00"),  # … on a Sunday
        ("2024-01-20", "03:45", "10:00"),
        ("2024-03-02", "03:45", "07:00"),
        ("2024-05-18", "03:45", "07:00"),
        ("2018-11-07", "12:00", "13:00"),  # Muhurat, on Wednesday evening
        ("2019-10-27", "12:45", "13:45"),  # … on a Sunday
        ("2024-11-01", "12:30", "13:30"),
        ("2025-10-21", "08:15", "09:15"),  # … in the afternoon
        ("2021-02-24", "03:45", "11:30"),  # after an outage
    ],
)
@pytest.mark.parametrize("exchange", ["NSE", "BSE"])
def test_india_trades_on_days_that_its_calendar_has_as_closed(
    exchange: str, label: str, opens: str, closes: str
) -> None:
    bounds = session_bounds(exchange, date.fromisoformat(label))
    assert bounds == (at(f"{label} {opens}"), at(f"{label} {closes}"))
    assert known_bar_close(f"{exchange}:TCS", at(f"{label} {opens}")) == bounds[1]


def test_each_year_since_2003_has_its_muhurat_evening() -> None:
    found = read_sessions(SHIPPED)["NSE"]
    evenings = {day.year for day in found if day.month in (10, 11) and found[day] is not None}
    assert evenings >= set(range(2003, 2027))


def test_the_session_before_a_special_one_and_after_it_are_known() -> None:
    saturday = at("2024-03-02 07:00")
    assert previous_close("NSE:TCS", saturday) == at("2024-03-01 10:00")
    assert previous_close("NSE:TCS", at("2024-03-04 10:00")) == saturday


def test_the_two_exchanges_of_the_shipped_table_share_their_days() -> None:
    found = read_sessions(SHIPPED)
    assert set(found) <= set(CALENDARS)
    assert found["NSE"] == found["BSE"]


def test_a_projects_own_sessions_open_close_and_change_days(own: Path) -> None:
    own.write_text(
        HEADER + "# a storm\nNYSE,2012-10-29,,\nNYSE NASDAQ,2021-03-06,10:00,13:00\n"
        "NSE,2021-03-03,09:15,12:00\n"
    )
    assert session_bounds("NYSE", date(2021, 3, 6)) == (
        at("2021-03-06 15:00"),
        at("2021-03-06 18:00"),
    )
    assert session_bounds("NASDAQ", date(2021, 3, 6)) == session_bounds("NYSE", date(2021, 3, 6))
    assert session_bounds("AMEX", date(2021, 3, 6)) is None
    assert known_bar_close("NYSE:IBM", at("2021-03-06 14:00")) == at("2021-03-06 18:00")
    assert session_bounds("NSE", date(2021, 3, 3)) == (
        at("2021-03-03 03:45"),
        at("2021-03-03 06:30"),
    )
    assert session_bounds("BSE", date(2021, 3, 3)) == (
        at("2021-03-03 03:45"),
        at("2021-03-03 10:00"),
    )


def test_a_projects_own_day_off_is_none(own: Path) -> None:
    own.write_text(HEADER + "NYSE,2021-03-03,,\n")
    labels = [each.label for each in sessions_between("NYSE", date(2021, 3, 2), date(2021, 3, 4))]
    assert labels == [date(2021, 3, 2), date(2021, 3, 4)]
    assert known_bar_close("NYSE:IBM", at("2021-03-03 14:30")) is None


def test_own_rows_past_a_calendars_end_say_that_the_year_is_known(own: Path) -> None:
    own.write_text(HEADER + "SSE,2027-02-08,,\nSSE,2027-10-01,,\n")
    assert calendar_ends(["SSE", "SZSE"]) == {"SSE": date(2027, 10, 1), "SZSE": date(2026, 12, 31)}
    february = sessions_between("SSE", date(2027, 2, 5), date(2027, 2, 9))
    assert [(each.label.day, each.is_assumed) for each in february] == [(5, False), (9, False)]
    assert sessions_between("SSE", date(2027, 10, 4), date(2027, 10, 4))[0].is_assumed


@pytest.mark.parametrize(
    ("exchange", "end", "feast", "fixed"),
    [
        # Eid al-Fitr of 2026, and a holiday of a fixed date.
        ("IDX", date(2025, 12, 31), date(2026, 3, 20), date(2026, 12, 25)),
        ("PSX", date(2025, 12, 31), date(2026, 3, 20), date(2026, 12, 25)),
    ],
)
def test_a_calendar_that_goes_on_without_its_lunar_holidays_has_ended(
    exchange: str, end: date, feast: date, fixed: date
) -> None:
    assert calendar_ends([exchange]) == {exchange: end}
    (assumed,) = sessions_between(exchange, feast, feast)
    assert assumed.is_assumed
    assert sessions_between(exchange, fixed, fixed) == []
    before = sessions_between(exchange, date(2025, 3, 24), date(2025, 4, 8))
    assert not any(each.is_assumed for each in before)
    assert date(2025, 4, 1) not in [each.label for each in before]
    assert sessions_between(exchange, date(2035, 3, 7), date(2035, 3, 7))[0].is_assumed


@pytest.mark.parametrize("name", sorted(HOLIDAYS_KNOWN_UNTIL))
def test_holidays_are_lacking_after_the_end_that_is_declared(name: str) -> None:
    """If this fails, the library knows more years by now: move the end."""
    end = HOLIDAYS_KNOWN_UNTIL[name].year
    calendar = get_calendar(name, start="2018-01-01", end=f"{end + 1}-12-31")
    closed = Counter(
        day.year
        for day in pd.bdate_range("2018-01-01", f"{end + 1}-12-31")
        if day not in calendar.sessions
    )
    usual = sum(closed[year] for year in range(2018, 2026)) / 8
    assert closed[end] > 0.77 * usual > closed[end + 1]


@pytest.mark.parametrize(
    ("lines", "number", "told"),
    [
        ("NYSE,2021-03-06,10:00\n", 2, "3 cells"),
        ("NYSE,2021-03-06,10:00,13:00\nNYSE,06.03.2021,10:00,13:00\n", 3, "06.03.2021"),
        ("NYSE,2021-03-06,10:00,9:00 pm\n", 2, "9:00 pm"),
        ("NYSE,2021-03-06,13:00,10:00\n", 2, "not after"),
        ("NYSE,2021-03-06,10:00,\n", 2, "leave both empty"),
        ("NYSE,2021-03-06,10:00+01:00,13:00+01:00\n", 2, "without an offset"),
        ("# x\n\nNOWHERE,2021-03-06,10:00,13:00\n", 4, "'NOWHERE' is no exchange with a calendar"),
        (",2021-03-06,10:00,13:00\n", 2, "'' is no exchange"),
        ("OANDA,2021-03-06,10:00,13:00\n", 2, "'OANDA' is no exchange with a calendar"),
        ("NYSE,2021-03-06,,\nNYSE AMEX,2021-03-06,,\n", 3, "NYSE 2021-03-06 is there twice"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(own: Path, lines: str, number: int, told: str) -> None:
    own.write_text(HEADER + lines)
    with pytest.raises(InputError) as refused:
        calendar_of("TADAWUL")  # whichever exchange is asked for
    assert str(refused.value).startswith(f"{own}, line {number}: ")
    assert told in str(refused.value)


@pytest.mark.parametrize("text", ["NYSE,2021-03-06,10:00,13:00\n", "date,exchange,open,close\n"])
def test_a_file_without_its_header_is_refused(own: Path, text: str) -> None:
    own.write_text(text)
    with pytest.raises(
        InputError, match=r"line 1: the first line must be exchange,date,open,close"
    ):
        calendar_of("TADAWUL")


def test_a_bad_line_ends_a_command_with_2(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    own.write_text(HEADER + "NYSE,soon,,\n")
    bars = tmp_path / "bars.csv"
    bars.write_text("date,symbol,open,high,low,close,volume\n2021-03-03,NYSE:A,1,1,1,1,1\n")
    monkeypatch.setattr("sys.argv", ["tvfeast", "import-bars", str(bars)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "sessions.csv, line 2: " in capsys.readouterr().err
