"""Dated membership: what a file says, what of it is refused, and what a second import does."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from ingestion.base.errors import InputError
from ingestion.cli.commands import cli
from ingestion.datasets import Membership
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.ingest.import_universe import (
    ImportUniverseRequest,
    ImportUniverseResult,
    import_universe,
)
from ingestion.jobs.serve.show_universe import members_so_far
from ingestion.lakehouse import read_members
from ingestion.markets.dated_membership import read_dated_membership
from ingestion.project import Project

GOOD = "symbol,from,to\nNASDAQ:AAPL,2015-03-19,\nNYSE:IBM,2016-01-04,2020-06-22\n"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.fixture
def load(settings: Project, tmp_path: Path) -> Callable[..., ImportUniverseResult]:
    def run(text: str | bytes, name: str = "sp500", **options: bool) -> ImportUniverseResult:
        path = tmp_path / "members.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return import_universe(settings, ImportUniverseRequest(path, name, **options))

    return run


def spans(settings: Project, name: str = "sp500") -> dict[tuple[str, str], str | None]:
    """The spans that stand, by symbol and UTC date of their start."""
    return {
        (row["symbol"], f"{row['valid_from']:%Y-%m-%d}"): row["valid_until"]
        and f"{row['valid_until']:%Y-%m-%d}"
        for row in read_members(settings.lakehouse, name).to_pylist()
        if row["valid_until"] != row["valid_from"]
    }


def test_a_span_lasts_from_the_open_of_its_first_session_to_that_of_the_first_without(
    settings: Project, load
):
    result = load(GOOD)
    rows = read_members(settings.lakehouse, "sp500").to_pylist()
    assert [(row["symbol"], row["valid_from"], row["valid_until"]) for row in rows] == [
        ("NASDAQ:AAPL", utc("2015-03-19 13:30"), None),
        ("NYSE:IBM", utc("2016-01-04 14:30"), utc("2020-06-22 13:30")),
    ]
    assert [row["event_timestamp"] for row in rows] == [row["valid_from"] for row in rows]
    assert {row["source"] for row in rows} == {"import"}
    assert (result.spans, result.written, result.refused) == (2, 2, {})
    assert check_lakehouse(settings).faults == []


@pytest.mark.parametrize(
    ("announced", "known"),
    [
        ("2015-03-06", "2015-03-06 14:30"),
        ("2015-03-07", "2015-03-09 13:30"),  # a Saturday: the clocks went forward on Sunday
        ("2015-03-06T22:15Z", "2015-03-06 22:15"),
        ("2015-03-06T17:15-05:00", "2015-03-06 22:15"),
        ("2015-04-01", "2015-04-01 13:30"),  # after it joined
        ("", "2015-03-19 13:30"),
    ],
)
def test_it_is_known_from_its_announcement(settings: Project, load, announced: str, known: str):
    load(f"symbol,from,to,announced\nNASDAQ:AAPL,2015-03-19,,{announced}\n")
    (row,) = read_members(settings.lakehouse, "sp500").to_pylist()
    assert (row["event_timestamp"], row["valid_from"]) == (utc(known), utc("2015-03-19 13:30"))
    membership = Membership.of(read_members(settings.lakehouse, "sp500"))
    start = max(utc(known), utc("2015-03-19 13:30"))
    assert membership.members_at(start) == ["NASDAQ:AAPL"]
    assert membership.members_at(start - timedelta(microseconds=1)) is None


@pytest.mark.parametrize(
    ("symbol", "first", "opens"),
    [
        ("TSE:7203", "2021-04-12", "2021-04-12 00:00"),
        ("ASX:BHP", "2021-01-12", "2021-01-11 23:00"),
        ("LSE:VOD", "2021-04-12", "2021-04-12 07:00"),
        ("BINANCE:BTCUSDT", "2021-04-11", "2021-04-11 00:00"),
        ("OANDA:EURUSD", "2021-04-12", "2021-04-11 21:00"),
        ("OANDA:EURUSD", "2021-04-10", "2021-04-11 21:00"),  # a Saturday: Monday's session
        ("NASDAQ:AAPL", "2021-04-02", "2021-04-05 13:30"),  # Good Friday
        ("MOEX:SBER", "2021-04-12", "2021-04-12 00:00"),  # hours unknown: UTC days
    ],
)
def test_dates_are_those_of_the_symbols_exchange(
    settings: Project, load, symbol: str, first: str, opens: str
):
    result = load(f"symbol,from,to\n{symbol},{first},\n")
    (row,) = read_members(settings.lakehouse, "sp500").to_pylist()
    assert row["valid_from"] == utc(opens)
    assert result.unknown_hours == (("MOEX",) if symbol.startswith("MOEX") else ())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (",2015-03-19,", "symbol: it is empty"),
        ("AAPL,2015-03-19,", "symbol: no exchange"),
        ("nasdaq:aapl,2015-03-19,", "symbol: lower case: write NASDAQ:AAPL"),
        ("NASDAQ:MSFT,,", "from is empty"),
        ("NASDAQ:MSFT,soon,", "from: 'soon' is not a date"),
        ("NASDAQ:MSFT,2015-02-30,", "from: '2015-02-30' is not a date"),
        ("NASDAQ:MSFT,19/03/2015,", "from: '19/03/2015' is not a date"),
        ("NASDAQ:MSFT,0001-01-01,", "from: '0001-01-01' is not a date"),
        ("NASDAQ:MSFT,2015-03-19,later", "to: 'later' is not a date"),
        ("NASDAQ:MSFT,2015-03-19,2015-03-19", "to, 2015-03-19, is not after from"),
        ("NASDAQ:MSFT,2015-03-19,2014-03-19", "to, 2014-03-19, is not after from"),
        ("NASDAQ:MSFT,2021-04-03,2021-04-05", "there is no session of NASDAQ from 2021-04-03"),
        ("NASDAQ:MSFT,2199-03-19,", "no session of NASDAQ on or after 2199-03-19 is known"),
        ("NASDAQ:MSFT,2015-03-19", "it has 2 cells, the header has 3"),
        ("NASDAQ:MSFT,2015-03-19,,x", "it has 4 cells, the header has 3"),
        ('"NASDAQ:MSFT,2015-03-19,', "it has 1 cells, the header has 3"),
        ("\x00,2015-03-19,", "symbol: "),
        ("NASDAQ:AAPL,2016-03-19,2017-01-03", "it overlaps line 2, which has the same symbol"),
        ("NYSE:IBM,2020-06-19,", "it overlaps line 3"),
        ("NYSE:IBM,2016-01-04,2020-06-23", "it overlaps line 3"),
    ],
)
def test_a_bad_line_is_refused_by_number_and_costs_no_other(
    settings: Project, load, line: str, why: str
):
    result = load(f"{GOOD}{line}\nNASDAQ:AMZN,2018-01-02,\n")
    assert list(result.refused) == [4]
    assert result.refused[4].startswith(why)
    assert len(spans(settings)) == 3


def test_bytes_that_are_no_text_cost_their_own_line(settings: Project, load):
    result = load(GOOD.encode() + b"NASDAQ:\xff\xfe\x01,2015-03-19,\n")
    assert list(result.refused) == [4]
    assert len(spans(settings)) == 2


def test_an_announcement_that_comes_too_late_or_is_none_is_refused(settings: Project, load):
    result = load(
        "symbol,from,to,announced\n"
        "NYSE:A,2015-03-19,2016-03-18,2016-03-18\n"
        "NYSE:B,2015-03-19,2016-03-18,soon\n"
        "NYSE:C,2015-03-19,2016-03-18,2016-03-17\n"
    )
    assert list(result.refused) == [2, 3]
    assert "announced is not before to" in result.refused[2]
    assert "announced: 'soon' is neither a date nor an instant" in result.refused[3]
    assert list(spans(settings)) == [("NYSE:C", "2015-03-19")]


def test_spans_that_touch_and_lines_that_repeat_are_no_faults(settings: Project, load):
    result = load(GOOD + "NYSE:IBM,2020-06-22,2021-03-22\nNYSE:IBM,2016-01-04,2020-06-22\n")
    assert (result.refused, result.repeated, result.spans) == ({}, 1, 3)
    membership = Membership.of(read_members(settings.lakehouse, "sp500"))
    assert "NYSE:IBM" in (membership.members_at(utc("2020-06-22 13:30")) or [])
    assert "NYSE:IBM" not in (membership.members_at(utc("2021-03-22 13:30")) or [])


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        "\ufeff" + GOOD,
        GOOD.replace(",", ";"),
        GOOD.replace(",", "\t"),
        GOOD.replace("symbol,from,to", "Symbol, From ,TO"),
        GOOD.replace("2015-03-19", "20150319"),
        GOOD.replace("2015-03-19", "2015-03-19 00:00:00"),
        GOOD.replace("2015-03-19", "2015-03-19T00:00:00+00:00"),
        "# S&P 500\n\n" + GOOD + "\n\n",
        GOOD.replace("NASDAQ:AAPL", '" NASDAQ:AAPL "'),
    ],
)
def test_forms_of_csv(settings: Project, load, text: str):
    assert load(text).refused == {}
    assert spans(settings) == {
        ("NASDAQ:AAPL", "2015-03-19"): None,
        ("NYSE:IBM", "2016-01-04"): "2020-06-22",
    }


@pytest.mark.parametrize(
    "kind", [pa.date32(), pa.date64(), pa.timestamp("ns"), pa.timestamp("us", "UTC"), pa.string()]
)
def test_parquet_with_whatever_type_of_dates(settings: Project, tmp_path: Path, kind: pa.DataType):
    first, last = [date(2015, 3, 19), date(2016, 1, 4)], [None, date(2020, 6, 22)]
    table = pa.table(
        {
            "symbol": ["NASDAQ:AAPL", "NYSE:IBM"],
            "from": pa.array(first, pa.date32()).cast(kind),
            "to": pa.array(last, pa.date32()).cast(kind),
            "weight": [1.0, 2.0],
        }
    )
    pq.write_table(table, tmp_path / "members.parquet")
    request = ImportUniverseRequest(tmp_path / "members.parquet", "sp500")
    result = import_universe(settings, request)
    assert (result.refused, result.ignored) == ({}, ("weight",))
    assert spans(settings) == {
        ("NASDAQ:AAPL", "2015-03-19"): None,
        ("NYSE:IBM", "2016-01-04"): "2020-06-22",
    }


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("\n\n", "is empty"),
        ("ticker,from,to\n", "has no column symbol; it has ticker, from, to"),
        ("symbol,from\n", "has no column to"),
        ("symbol,from,to,from\n", "has the column from twice"),
    ],
)
def test_a_file_of_another_kind_is_an_error(load, text: str, said: str):
    with pytest.raises(InputError, match=said):
        load(text)


def test_files_that_cannot_be_read_are_errors(tmp_path: Path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no")
    for name in ("broken.parquet", "missing.csv", "missing.parquet"):
        with pytest.raises(InputError, match=r"cannot be read"):
            read_dated_membership(tmp_path / name)
    with pytest.raises(InputError, match=r"cannot be read"):
        read_dated_membership(tmp_path)


@pytest.mark.parametrize("name", ["S&P 500", "america", "../up", ""])
def test_a_name_that_no_universe_can_have_is_refused(load, name: str):
    with pytest.raises(InputError, match="cannot be a universe's name"):
        load(GOOD, name)


def test_a_misspelt_name_is_refused_with_the_nearest_and_a_new_one_is_told(load):
    assert load(GOOD).is_new
    assert not load(GOOD).is_new
    for name in ("sp50", "sp5000", "s_p500", "us_larg"):
        with pytest.raises(InputError, match=r"did you mean (sp500|us_large)\?\); .* add --new"):
            load(GOOD, name)
    with pytest.raises(InputError, match=r"cannot be a universe's name.*did you mean sp500\?"):
        load(GOOD, "SP500")
    assert load(GOOD, "sp400").is_new  # digits tell indices apart
    assert load(GOOD, "nasdaq").is_new
    assert load(GOOD, "sp50", new=True).is_new
    assert not load(GOOD, "us_large").is_new  # a file declares it


def test_the_same_file_again_adds_nothing(settings: Project, load):
    load(GOOD)
    before = read_members(settings.lakehouse, "sp500")
    result = load(GOOD)
    assert (result.written, result.restated, result.withdrawn, result.unchanged) == (0, 0, 0, 2)
    assert result.parts == ()
    assert read_members(settings.lakehouse, "sp500").equals(before)


def test_a_corrected_file_restates(settings: Project, load):
    load(GOOD)
    result = load("symbol,from,to\nNASDAQ:AAPL,2015-03-20,\nNYSE:IBM,2016-01-04,2020-06-24\n")
    assert (result.written, result.restated, result.withdrawn) == (1, 1, 1)
    assert spans(settings) == {
        ("NASDAQ:AAPL", "2015-03-20"): None,
        ("NYSE:IBM", "2016-01-04"): "2020-06-24",
    }
    load(GOOD)
    assert spans(settings) == {
        ("NASDAQ:AAPL", "2015-03-19"): None,
        ("NYSE:IBM", "2016-01-04"): "2020-06-22",
    }
    assert check_lakehouse(settings).faults == []


def test_what_was_known_before_a_correction_is_still_there(settings: Project, load, at):
    load(GOOD)
    corrected_at = datetime(2021, 4, 14, tzinfo=UTC)
    at(corrected_at)
    load(GOOD.replace("2020-06-22", "2020-06-24"))
    earlier = read_members(settings.lakehouse, "sp500", corrected_at - timedelta(seconds=1))
    ends = {row["symbol"]: row["valid_until"] for row in earlier.to_pylist()}
    assert ends["NYSE:IBM"] == utc("2020-06-22 13:30")


def test_a_symbol_that_a_later_file_does_not_name_stays(settings: Project, load):
    load(GOOD)
    assert load("symbol,from,to\nNASDAQ:AMZN,2018-01-02,\n").withdrawn == 0
    assert len(spans(settings)) == 3
    result = load("symbol,from,to\nNASDAQ:AMZN,2018-01-02,\n", replace=True)
    assert (result.withdrawn, result.unchanged) == (2, 1)
    assert list(spans(settings)) == [("NASDAQ:AMZN", "2018-01-02")]


def test_a_refused_line_takes_nothing_back(settings: Project, load):
    load(GOOD + "NYSE:IBM,2021-01-04,\n")
    result = load(
        "symbol,from,to\nNYSE:IBM,2016-01-04,2020-06-22\nNYSE:IBM,2021-01-44,\n", replace=True
    )
    assert (result.withdrawn, list(result.refused)) == (0, [3])
    assert len(spans(settings)) == 3


def test_a_span_that_is_announced_elsewhere_is_known_then(settings: Project, load):
    load("symbol,from,to,announced\nNASDAQ:AAPL,2015-03-19,,2015-03-06\n")
    result = load("symbol,from,to,announced\nNASDAQ:AAPL,2015-03-19,,2015-04-01\n")
    assert (result.restated, result.written) == (1, 0)
    (row,) = read_members(settings.lakehouse, "sp500").to_pylist()
    assert row["event_timestamp"] == utc("2015-04-01 13:30")
    assert check_lakehouse(settings).faults == []


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, ["universe", *map(str, words)])


def test_the_commands(settings: Project, tmp_path: Path):
    path = tmp_path / "members.csv"
    path.write_text(GOOD + "NYSE:IBM,never,\n")
    result = command("import", path, "--name", "sp500")
    assert getattr(result.exception, "exit_code", None) == 3
    assert "line 4: from: 'never' is not a date" in result.stdout
    assert "2 spans of 2 symbols: 2 new, 1 refused" in result.stdout

    shown = command("show", "sp500", "--as-of", "2020-06-22T13:29Z", "--json")
    assert json.loads(shown.stdout)["symbols"] == ["NASDAQ:AAPL", "NYSE:IBM"]
    shown = command("show", "sp500", "--as-of", "2020-06-22T13:30Z", "--json")
    told = json.loads(shown.stdout)
    assert (told["symbols"], told["source"], shown.exit_code) == (["NASDAQ:AAPL"], "import", 0)
    for day, members in (
        ("2020-06-21", 2),
        ("2020-06-22", 1),
        ("2016-01-04", 2),
        ("2016-01-03", 1),
    ):
        shown = command("show", "sp500", "--as-of", day, "--json")
        assert len(json.loads(shown.stdout)["symbols"]) == members, day

    shown = command("show", "sp500", "--as-of", "2015-03-18")
    assert "sp500 at the end of 2015-03-18: unknown" in shown.stdout
    assert getattr(shown.exception, "exit_code", None) == 3
    assert "there is no universe 'no'; " not in str(command("show", "no").exception)
    assert "there is no universe 'no': there are sp500" in str(command("show", "no").exception)

    listed = json.loads(command("list", "--json").stdout)["universes"]
    assert [(each["name"], each["members"], each["imported"]) for each in listed] == [
        ("sp500", 1, 2),
        ("us_large", None, 0),
    ]
    assert "sp500" in command("list").stdout


def test_a_date_ends_at_the_symbols_own_exchange(settings: Project, tmp_path: Path):
    """Sydney's session of the 13th opens at 00:00 UTC of the 13th, in January at 23:00 before."""
    path = tmp_path / "members.csv"
    path.write_text("symbol,from,to\nASX:BHP,2021-01-05,2021-01-13\nASX:CBA,2021-01-13,\n")
    command("import", path, "--name", "asx")
    symbols = {
        day: json.loads(command("show", "asx", "--as-of", day, "--json").stdout)["symbols"]
        for day in ("2021-01-12", "2021-01-13")
    }
    assert symbols == {"2021-01-12": ["ASX:BHP"], "2021-01-13": ["ASX:CBA"]}


def test_everybody_who_was_in_is_who_bars_are_fetched_of(settings: Project, load):
    load(GOOD + "NYSE:LATER,2022-01-03,\n")  # the day is in 2021
    assert members_so_far(settings, "sp500") == ("NASDAQ:AAPL", "NYSE:IBM")
    with pytest.raises(InputError, match="there is no universe 'other': there are sp500"):
        members_so_far(settings, "other")


def test_fetching_bars_takes_candidates_or_a_universe(settings: Project):
    folder = settings.feast_repository / "sources"
    folder.mkdir()
    for words in ([], ["--candidates", "x.json", "--universe", "sp500"]):
        result = CliRunner().invoke(cli, ["fetch-bars", "--source", "none", *words])
        assert getattr(result.exception, "exit_code", None) == 2
