"""Recorded answers are served as they are, stored over HTTP, and equal in the lakehouse."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from ingestion.base.errors import InputError
from ingestion.catalog import Dtype, FeatureGroup
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.lakehouse import list_parts, read_part
from ingestion.markets.candidates import Candidates
from ingestion.project import Project
from ingestion.replay import Panel, ReplayScanner, asked_columns, read_recording, read_recordings
from tests.conftest import MONDAY, QUICK
from tests.declared import BY_CHOICE, GROUPS
from tests.jobs.test_chosen_groups import DEFAULT, choose

FOLDER = Path(__file__).resolve().parents[1] / "recordings"
MORE = os.environ.get("RECORDINGS")
"""A folder of further ones, to try them too: `make test-recordings`."""
SCANS = FOLDER / "scans_2026"
AAPL = "NASDAQ:AAPL"
SCANNED = [each for each in (*GROUPS, *BY_CHOICE.values()) if each.scanned]
AT_ONCE = 19
"""Rows of a batch: of so few no share is judged, and whole columns are null here."""

Rows = Mapping[str, Mapping[str, Any]]


FRAMES = {"1m": "|1", "5m": "|5", "15m": "|15", "30m": "|30", "1h": "|60", "4h": "|240"}
FRAMES |= {"1d": "", "1w": "|1W", "monthly": "|1M"}


def rows_in(path: Path) -> Rows:
    """The rows of a file; of one that has values alone, its name says the symbol and the frame."""
    exchange, _, rest = path.stem.partition("_")
    if exchange not in ("nasdaq", "binance"):
        return read_recording(path)
    symbol = f"{exchange}:{rest.partition('_')[0]}".upper()
    suffix = FRAMES.get(path.stem.rpartition("_")[2], "")
    row = read_recording(path, symbol)[symbol]
    return {symbol: {f"{name}{suffix}": value for name, value in row.items()}}


def recordings() -> dict[str, Rows]:
    """The recordings by name: those that are shipped, and those of the further folder."""
    shipped = [*FOLDER.glob("*.response.json"), *SCANS.glob("*.json")]
    found = {path.name.removesuffix(".json"): rows_in(path) for path in shipped}
    for path in sorted(Path(MORE).rglob("*.json")) if MORE else ():
        is_answer = not path.name.endswith(("columns.json", "request.json"))
        if is_answer and not path.parts[-2].startswith(("vocab", "metainfo")):
            found[str(path.relative_to(str(MORE)))] = rows_in(path)
    return found


RECORDINGS = recordings()


def recorded_by(group: FeatureGroup, rows: Rows) -> bool:
    names = {column.scanner for column in group.features if column.scanner}
    return any(names & values.keys() for values in rows.values())


PAIRS = [
    (name, group.name)
    for name, rows in RECORDINGS.items()
    for group in SCANNED
    if recorded_by(group, rows)
]


def in_batches(symbols: list[str]) -> Iterator[tuple[str, ...]]:
    for first in range(0, len(symbols), AT_ONCE):
        yield tuple(symbols[first : first + AT_ONCE])


def expected(group: FeatureGroup, values: Mapping[str, Any]) -> dict[str, Any]:
    """What the lakehouse is to have of a recorded row, by the file's JSON alone."""
    found = {}
    for column in group.features:
        if column.derived is None:
            value = values.get(str(column.scanner))
            is_number = value is not None and column.dtype is Dtype.DOUBLE
            found[column.name] = float(value) if is_number else value
    return found


def stored(row: Mapping[str, Any], group: FeatureGroup) -> dict[str, Any]:
    found = {}
    for column in group.features:
        if column.derived is None:
            value = row[column.name]
            is_time = value is not None and column.dtype is Dtype.TIMESTAMP
            found[column.name] = value.timestamp() if is_time else value
    return found


@pytest.mark.parametrize(("name", "group_name"), PAIRS)
def test_a_recording_is_stored_as_it_is(settings: Project, at, name: str, group_name: str):
    choose(settings, [*DEFAULT, *BY_CHOICE])
    rows, group = RECORDINGS[name], settings.catalog.group(group_name)
    quarantined: dict[str, list[str]] = {}
    with ReplayScanner(Panel.from_rows(rows, asked_columns())) as scanner:
        project = replace(settings, scanner_url=scanner.url)
        for number, symbols in enumerate(in_batches(list(rows))):
            at(MONDAY + timedelta(minutes=number))
            asked = Candidates("recorded.json", symbols, (), 0)
            request = FeatureIngestRequest(asked, scanner=QUICK, group=group.name, min_coverage=0)
            result = feature_ingest(project, request)
            assert result.report.fetched == len(symbols)
            assert result.quality is not None
            for row in result.quality.quarantined.to_pylist():
                quarantined[row["symbol"]] = row[result.quality.quarantined.column_names[-1]]
    found = {
        row["symbol"]: stored(row, group)
        for part in list_parts(project.lakehouse, group)
        for row in read_part(part, group).to_pylist()
    }
    assert found == {symbol: expected(group, rows[symbol]) for symbol in rows}
    assert not quarantined


def test_a_row_that_a_rule_quarantines_is_listed_with_the_rule(settings: Project, at):
    choose(settings, [*DEFAULT, "tv_analyst_1d"])
    rows = {
        **RECORDINGS["watakandai_2026.response"],
        "NYSE:BAD": {"recommendation_mark": 3.6, "close": 10},
    }
    with ReplayScanner(Panel.from_rows(rows, asked_columns())) as scanner:
        asked = Candidates("recorded.json", tuple(rows), (), 0)
        request = FeatureIngestRequest(asked, scanner=QUICK, group="tv_analyst_1d", min_coverage=0)
        quality = feature_ingest(replace(settings, scanner_url=scanner.url), request).quality
    assert quality is not None
    (bad,) = quality.quarantined.to_pylist()
    assert bad["symbol"] == "NYSE:BAD"
    assert list(bad.values())[-1] == ["recommendation_mark bounds"]
    assert [failure.check for failure in quality.failures] == ["recommendation_mark bounds"]


def test_the_upside_is_against_the_close_where_the_currencies_agree(settings: Project):
    choose(settings, [*DEFAULT, "tv_analyst_1d"])
    target = {"price_target_average": 120, "close": 80}
    rows = {
        "NASDAQ:A": {**target, "currency": "USD", "fundamental_currency_code": "USD"},
        "TSE:B": {**target, "currency": "JPY", "fundamental_currency_code": "USD"},
        "NYSE:C": {**target, "currency": "USD"},
        "NYSE:D": {**target, "close": None, "currency": "USD", "fundamental_currency_code": "USD"},
    }
    with ReplayScanner(Panel.from_rows(rows, asked_columns())) as scanner:
        asked = Candidates("recorded.json", tuple(rows), (), 0)
        request = FeatureIngestRequest(asked, scanner=QUICK, group="tv_analyst_1d")
        project = replace(settings, scanner_url=scanner.url)
        result = feature_ingest(project, request)
    assert result.part is not None
    group = project.catalog.group("tv_analyst_1d")
    upsides = read_part(result.part, group, ["symbol", "target_upside"]).to_pylist()
    assert {row["symbol"]: row["target_upside"] for row in upsides} == {
        "NASDAQ:A": 50,
        "TSE:B": None,
        "NYSE:C": None,
        "NYSE:D": None,
    }


def test_a_reported_value_that_changes_within_its_period_is_a_restatement(settings: Project, at):
    choose(settings, [*DEFAULT, "tv_fundamentals_1d"])
    period, released = 1_617_148_800, 1_619_553_600
    label = {
        "fiscal_period_end_fq": period,
        "earnings_release_date": released,
        "fundamental_currency_code": "USD",
    }
    first = {"return_on_equity": 20.5, "current_ratio": 1.5, "market_cap_basic": 5e9}
    later = {
        "NYSE:SAME": {**label, **first, "market_cap_basic": 6e9},  # a price is in that
        "NYSE:RESTATED": {**label, **first, "return_on_equity": 19.0},
        "NYSE:NEXT": {**label, **first, "return_on_equity": 19, "earnings_release_date": 1 << 30},
        "NYSE:UNLABELLED": {**first, "return_on_equity": 19.0},
        "NYSE:ROUNDED": {**label, **first, "current_ratio": 1.5 + 1e-9},
    }
    before = {
        symbol: {**(first if symbol == "NYSE:UNLABELLED" else {**label, **first})}
        for symbol in later
    }
    asked = Candidates("recorded.json", tuple(later), (), 0)
    request = FeatureIngestRequest(asked, scanner=QUICK, group="tv_fundamentals_1d")
    results = []
    for day, rows in enumerate((before, later)):
        at(MONDAY + timedelta(days=day))
        with ReplayScanner(Panel.from_rows(rows, asked_columns())) as scanner:
            results.append(feature_ingest(replace(settings, scanner_url=scanner.url), request))
    assert not results[0].notes.restated
    assert dict(results[1].notes.restated) == {"return_on_equity": ("NYSE:RESTATED",)}
    receipt = json.loads(results[1].receipt.read())
    assert receipt["restated"] == {"return_on_equity": ["NYSE:RESTATED"]}


def test_a_file_of_no_known_form_is_refused(tmp_path: Path):
    path = tmp_path / "odd.json"
    for text, said in (
        ("[", "cannot be read"),
        ("[]", "is no recorded answer"),
        ('{"RSI": 50}', "write NASDAQ:AAPL=FILE"),
        ('{"data": [{"s": "A:B", "d": [1]}]}', r"put NAME\.columns\.json beside it"),
    ):
        path.write_text(text)
        with pytest.raises(InputError, match=said):
            read_recording(path)
    path.write_text('{"RSI": 50}')
    (tmp_path / "more.json").write_text('{"data": [{"symbol": "A:B", "RSI": 51, "ADX": 20}]}')
    named = [f"A:B={path}", str(tmp_path / "more.json")]
    assert read_recordings(named) == {"A:B": {"RSI": 51, "ADX": 20}}
