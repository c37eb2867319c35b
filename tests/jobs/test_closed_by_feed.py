"""Whether a snapshot's bar was final follows from the feed it came from, wherever that is asked."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest
from scanned_rows import bar, instant, showing, unix

from ingestion.catalog import FEEDS
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.compute.parity import parity
from ingestion.jobs.ingest.data_ingest import data_ingest
from ingestion.jobs.ingest.feature_ingest import FeatureIngestRequest, feature_ingest
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.ingest.scan import ScanRequest
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.lakehouse import list_parts, read_file
from ingestion.markets.candidates import Candidates
from ingestion.markets.hours import BarState
from tests.conftest import QUICK
from tests.declared import TV_TECHNICALS_1D

pytestmark = pytest.mark.usefixtures("no_power_cuts")

OPENED = "2021-03-03T14:30"
"""An ordinary session of New York: it closes at 21:00 UTC."""
MODES = {
    "NYSE:LIVE": "streaming",  # final at 21:05
    "NYSE:USUAL": "delayed_streaming_900",  # at 21:20
    "NYSE:LATE": "delayed_streaming_1200",  # at 21:25
}
SOURCE = Candidates("three.json", tuple(MODES), (), 0)


@pytest.fixture
def snapshot(settings, scanner, at):
    """Take a snapshot at an instant."""

    def take(now: str) -> None:
        scanner.panel = showing(
            *(bar(symbol, OPENED, RSI=50.0, update_mode=mode) for symbol, mode in MODES.items())
        )
        at(instant(now))
        feature_ingest(settings, FeatureIngestRequest(SOURCE, scanner=QUICK, refresh=True))

    return take


@pytest.mark.parametrize(
    ("now", "final"),
    [
        ("2021-03-03T21:04:59", []),
        ("2021-03-03T21:06", ["NYSE:LIVE"]),
        ("2021-03-03T21:22", ["NYSE:LIVE", "NYSE:USUAL"]),
        ("2021-03-03T21:25", ["NYSE:LIVE", "NYSE:USUAL", "NYSE:LATE"]),
    ],
)
def test_explain_and_data_ingest_agree_with_the_feed(settings, snapshot, now, final) -> None:
    snapshot(now)
    states = {
        symbol: explain(settings, ExplainRequest(symbol, "tv_technicals_1d:RSI", online=False))
        .stories[0]
        .bar.state
        for symbol in MODES
    }
    assert [symbol for symbol, state in states.items() if state == BarState.CLOSED] == final
    ingested = data_ingest(settings, ScanRequest(SOURCE, scanner=QUICK))
    assert ingested.bars.closed == len(final)


def test_parity_compares_what_was_final_by_its_feed(settings, snapshot, at, tmp_path: Path) -> None:
    snapshot("2021-03-03T21:06")
    at(instant("2021-03-04T12:00"))
    path = tmp_path / "bars.csv"
    lines = (f"2021-03-03,{symbol},10,11,9,10,1\n" for symbol in MODES)
    path.write_text("date,symbol,open,high,low,close,volume\n" + "".join(lines))
    import_bars(settings, ImportRequest((path,)))
    local_features(settings)
    report = parity(settings).report
    assert (report.compared, report.open) == (1, 2)


def test_select_leaves_out_what_was_open_by_its_feed(settings, snapshot) -> None:
    snapshot("2021-03-03T21:22")
    now: datetime = instant("2021-03-03T21:22")
    request = SelectRequest(by="RSI", closed_only=True, as_of=now, group="tv_technicals_1d")
    chosen = select(settings, request)
    assert [row.symbol for row in chosen.rows] == ["NYSE:LIVE", "NYSE:USUAL"]
    assert chosen.left_out == {"open_bar": 1}


NAMES = [column.name for column in TV_TECHNICALS_1D.features]


@pytest.mark.parametrize(
    ("now", "unmoved"),
    [
        ("2021-03-04T21:04:59", 0 / 60),
        ("2021-03-04T21:06", 20 / 80),
        ("2021-03-04T21:22", 40 / 100),
        ("2021-03-04T21:26", 60 / 120),
    ],
)
def test_a_bar_stands_still_from_when_its_feed_should_have_moved(
    settings, scanner, at, now, unmoved
) -> None:
    """Thursday's session is over: 60 symbols show its bar, and 20 of each feed Wednesday's."""
    still = {f"{symbol}{n}": mode for symbol, mode in MODES.items() for n in range(20)}
    names = (*still, *(f"NYSE:NEW{n}" for n in range(60)))
    asked = FeatureIngestRequest(Candidates("120.json", names, (), 0), scanner=QUICK)
    evenings = (("2021-03-03T22:00", OPENED), (now, "2021-03-04T14:30"))
    for day, (evening, opened) in enumerate(evenings):
        scanner.panel = showing(
            *(
                bar(
                    name,
                    OPENED if name in still else opened,
                    **dict.fromkeys(NAMES, 0.5 + place / 1_000 + day / 10_000),
                    last_bar_update_time=unix(opened),
                    update_mode=still.get(name, "delayed_streaming_900"),
                )
                for place, name in enumerate(names)
            )
        )
        at(instant(evening))
        checked = feature_ingest(settings, asked).quality
    (figure,) = (each for each in checked.figures if each.check == "unmoved share")
    assert figure.value == unmoved


def test_only_what_is_not_usual_is_stored_and_only_when_it_changes(settings, snapshot) -> None:
    for now in ("2021-03-03T21:22", "2021-03-03T22:22"):
        snapshot(now)
    (part,) = list_parts(settings.lakehouse, FEEDS)
    assert read_file(part).to_pylist() == [
        {"symbol": symbol, "update_mode": MODES[symbol], "observed_at": instant("2021-03-03T21:22")}
        for symbol in ("NYSE:LATE", "NYSE:LIVE")
    ]
