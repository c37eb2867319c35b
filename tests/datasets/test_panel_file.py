"""The file of a panel: what the command writes is what Feast's own retrieval gives."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.base.errors import InputError
from ingestion.catalog import UNIVERSE_MEMBERS
from ingestion.cli.commands import cli
from ingestion.datasets import Schedule
from ingestion.datasets.fingerprint import fingerprint
from ingestion.datasets.set_file import read_provenance
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.serve.panel import PanelRequest, write_panel
from ingestion.jobs.serve.training_set import TrainingSetRequest, training_set
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import append_rows
from ingestion.project import Project
from tests.conftest import MONDAY, SAMPLE

OWN = ["BINANCE:BTCUSDT", "NASDAQ:AAPL", "NYSE:XOM"]
NOW = MONDAY + timedelta(minutes=5)
MARCH = Schedule(date(2021, 3, 1), date(2021, 3, 31))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project with features of some months, written in two runs: the second adds a symbol."""
    folder = make_workspace(tmp_path_factory.mktemp("panel") / "workspace")
    bars = pq.read_table(SAMPLE / "bars.parquet")
    opened = pc.field("timestamp")
    recent = (opened > MONDAY.timestamp() - 150 * 86_400) & (opened < MONDAY.timestamp() - 86_400)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_PROJECT", str(folder))
        for number, symbols in enumerate((OWN[:2], OWN[2:])):
            patch.setenv("TVFEAST_NOW", (NOW - timedelta(days=1 - number)).isoformat())
            file = folder / f"bars-{number}.parquet"
            pq.write_table(bars.filter(recent & pc.field("symbol").isin(symbols)), file)
            project = Project.from_environment()
            import_bars(project, ImportRequest((file,)))
            local_features(project)
        yield folder


@pytest.fixture
def project(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setenv("TVFEAST_PROJECT", str(workspace))
    monkeypatch.setenv("TVFEAST_NOW", NOW.isoformat())
    return Project.from_environment()


def test_a_panel_has_the_cells_that_feast_gives_to_the_same_questions(
    project: Project, tmp_path: Path
):
    made = write_panel(project, PanelRequest(MARCH, tmp_path / "panel.parquet", symbols=OWN))
    written = pq.read_table(made.out)
    assert made.rows == written.num_rows == 31 + 2 * 23
    labels = written.select(["symbol", "event_timestamp"])
    request = TrainingSetRequest(labels, tmp_path / "set.parquet", service="training_v1")
    joined = training_set(project, request)
    assert made.features == joined.features
    assert (made.matched, made.created_later) == (joined.matched, joined.created_later)
    assert pq.read_table(joined.out).equals(written)
    keys = written.select(["event_timestamp", "symbol"]).to_pylist()
    assert keys == sorted(keys, key=lambda each: tuple(each.values()))


def test_as_the_lakehouse_was_before_a_run_it_lacks_what_that_wrote(
    project: Project, tmp_path: Path
):
    before = NOW - timedelta(hours=1)
    request = PanelRequest(
        MARCH, tmp_path / "panel.parquet", features=["local_1d:RSI"], known_at=before
    )
    assert set(pq.read_table(write_panel(project, request).out)["symbol"].to_pylist()) == {*OWN[:2]}


def test_an_instant_before_the_first_row_is_refused_with_that_instant(
    project: Project, tmp_path: Path
):
    first = NOW - timedelta(days=1)
    request = PanelRequest(
        MARCH, tmp_path / "panel.parquet", known_at=first - timedelta(microseconds=1)
    )
    with pytest.raises(InputError, match=re.escape(f"was created at {first.isoformat()};")):
        write_panel(project, request)
    assert not list(tmp_path.iterdir())


def test_members_are_those_of_each_decision_and_nobody_where_that_is_unknown(
    project: Project, tmp_path: Path
):
    first, second = (datetime(2021, 3, day, tzinfo=UTC) for day in (10, 17))
    answers = [(first, OWN[1]), (first, OWN[2]), (second, OWN[2])]
    rows = [
        {
            "universe": "two",
            "symbol": symbol,
            "valid_from": at,
            "valid_until": at + timedelta(days=8),
            "event_timestamp": at,
            "created_timestamp": at,
            "source": "scan",
        }
        for at, symbol in answers
    ]
    append_rows(project.lakehouse, UNIVERSE_MEMBERS, rows, "members")
    request = PanelRequest(
        MARCH, tmp_path / "panel.parquet", features=["local_1d:RSI"], universe="two"
    )
    made = write_panel(project, request)
    asked = pq.read_table(made.out, columns=["symbol", "event_timestamp"]).to_pylist()
    of_dates = [(each["symbol"], each["event_timestamp"].day) for each in asked]
    both = [(symbol, day) for day in (10, 11, 12, 15, 16) for symbol in OWN[1:]]
    assert of_dates == [*both, *((OWN[2], day) for day in (17, 18, 19, 22, 23, 24))]
    assert "not known at 12 of 23 decisions" in made.warnings[0]


def test_the_file_says_where_its_rows_come_from(project: Project, tmp_path: Path):
    made = write_panel(project, PanelRequest(MARCH, tmp_path / "panel.parquet", symbols=OWN))
    told = read_provenance(made.out)
    assert told == json.loads((tmp_path / "panel.parquet.json").read_text())
    assert told["fingerprint"] == fingerprint([pq.read_table(made.out)])._asdict()
    assert told["fingerprint"]["rows"] == made.fingerprint
    assert (told["kind"], told["service"], told["symbols"]) == ("panel", "training_v1", OWN)
    assert (told["known_at"], told["as_recorded"]) == (made.known_at.isoformat(), False)
    assert told["created_later"] == {"local_1d": made.created_later}
    assert [each["column"] for each in told["features"]] == [*made.features]
    # Each part, by the bytes that are on the disk.
    days = {key.split("/")[-2].partition("=")[2] for key in told["parts"]["local_1d"]}
    assert min(days) >= "2021-02-17"
    assert max(days) == "2021-03-31"
    for key, sha256 in told["parts"]["local_1d"].items():
        content = (project.lakehouse_at / key).read_bytes()
        assert hashlib.sha256(content).hexdigest() == sha256
    with pytest.raises(InputError, match="does not say where its rows come from"):
        read_provenance(SAMPLE / "bars.parquet")


def test_a_training_set_is_read_as_of_the_instant_with_its_labels(project: Project, tmp_path: Path):
    words = "training-set --target fwd_return_5d --from 2021-03-01 --to 2021-03-12 --ages --json"
    before = NOW - timedelta(hours=1)
    found = {}
    for known_at in (before, NOW):
        out = tmp_path / f"{known_at:%d}.parquet"
        more = ["--known-at", known_at.isoformat(), "--out", str(out)]
        result = CliRunner().invoke(cli, [*words.split(), *more])
        assert result.exit_code == 0, result.output
        found[known_at] = {*pq.read_table(out)["symbol"].to_pylist()}
        told = read_provenance(out)
        assert told["labels"]["target"] == "fwd_return_5d"
        assert {*told["parts"]} == {"local_1d", "ohlcv_1d"}
    assert found == {before: {*OWN[:2]}, NOW: {*OWN}}
    early = ["--known-at", "2021-01-01", "--out", str(tmp_path / "early.parquet")]
    result = CliRunner().invoke(cli, [*words.split(), *early])
    assert isinstance(result.exception, InputError)
    assert "any ohlcv_1d: its first row was created at 2021-04-11T21:35" in str(result.exception)


def test_the_command_writes_weeks_without_feast(project: Project, tmp_path: Path):
    out = tmp_path / "weeks.parquet"
    words = f"panel --from 2021-03-01 --to 2021-03-31 --every week --at 21:30Z --out {out} --json"
    result = CliRunner().invoke(cli, [*words.split(), "--feature", "local_1d:RSI"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert "survivors: at each decision" in result.stderr
    rows = pq.read_table(out)
    assert told["rows"] == rows.num_rows == 4 * 3
    assert {f"{each:%a %H:%M}" for each in rows["event_timestamp"].to_pylist()} == {
        "Fri 21:30",
        "Sun 21:30",
    }


def test_a_symbol_that_is_asked_for_and_has_no_row_is_named(project: Project, tmp_path: Path):
    request = PanelRequest(MARCH, tmp_path / "panel.parquet", symbols=["NASDAQ:APPL", *OWN])
    survivors, unknown = write_panel(project, request).warnings
    assert survivors.startswith("survivors")
    assert unknown == "no feature was known of NASDAQ:APPL (did you mean NASDAQ:AAPL?)"


def test_symbols_of_which_none_has_a_row_make_no_file(project: Project, tmp_path: Path):
    request = PanelRequest(MARCH, tmp_path / "panel.parquet", symbols=["NASDAQ:APPL", "X:GONE"])
    with pytest.raises(InputError, match=r"known of NASDAQ:APPL \(did you mean NASDAQ:AAPL\?\)"):
        write_panel(project, request)
    assert not list(tmp_path.glob("panel.parquet*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"service": "training_v2"}, 'no service "training_v2"'),
        ({"features": ["local_1d:RSY"]}, "RSY"),
        ({"universe": "nobody"}, "there is no universe 'nobody'"),
        (
            {"schedule": Schedule(date(2021, 3, 6), date(2021, 3, 7)), "symbols": ["NYSE:XOM"]},
            "no decision from",
        ),
        ({"symbols": []}, "nobody to ask about: no symbol is named"),
        (
            {"features": ["tv_technicals_1d:RSI"]},
            "has no tv_technicals_1d: run `tvfeast flow-data`",
        ),
        ({"known_at": NOW + timedelta(days=1)}, "is in the future"),
        ({"out": SAMPLE}, "is a folder; name a file in it"),
        ({"out": SAMPLE / "bars.parquet" / "x"}, "bars.parquet/x cannot be written: "),
    ],
    ids=[
        "service",
        "feature",
        "universe",
        "weekend",
        "nobody",
        "no-rows",
        "future",
        "folder",
        "file",
    ],
)
def test_what_cannot_be_asked_leaves_no_file(
    project: Project, tmp_path: Path, arguments: dict, said: str
):
    wanted = {"schedule": MARCH, "out": tmp_path / "panel.parquet"} | arguments
    with pytest.raises(InputError, match=said):
        write_panel(project, PanelRequest(**wanted))
    assert not list(tmp_path.iterdir())
