"""Rows that others computed: read, checked, stored once, refused by number and reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import GateRefused, InputError, demand_all
from ingestion.cli.features import import_text
from ingestion.jobs.audit.status import status
from ingestion.jobs.audit.validate import validate
from ingestion.jobs.ingest.import_features import import_features
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project
from tests.conftest import MONDAY

GROUP = """
from ingestion.catalog import Column, FeatureGroup, Files

GROUP = FeatureGroup(
    name="mine",
    meaning="scores of another program",
    source=Files(),
    ttl="4d",
    features=[
        Column("score", meaning="s", low=0, high=1),
        Column("rank", "int64", meaning="r"),
        Column("held", "bool", meaning="h", optional=True),
        Column("side", "string", meaning="side", values=("long", "short"), optional=True),
        Column("since", "timestamp", meaning="t", optional=True),
    ],
)
"""
NOW = "2021-04-12T20:00Z"


@pytest.fixture
def project(settings: Project) -> Project:
    folder = settings.feast_repository / "groups"
    folder.mkdir()
    (folder / "mine.py").write_text(GROUP)
    vars(settings).pop("catalog", None)
    return settings


def rows(project: Project) -> list[dict]:
    group = project.catalog.group("mine")
    return read_current(list_parts(project.lakehouse, group), group).to_pylist()


def test_rows_of_a_csv_are_stored_with_their_own_event_and_created_now(
    project: Project, tmp_path: Path
):
    file = tmp_path / "rows.csv"
    file.write_text(
        "symbol,event_timestamp,score,rank,side,held,since,note\n"
        f"NASDAQ:AAPL,2021-04-09T22:00:00+02:00,0.25,3,long,true,2020-01-02T00:00Z,x\n"
        f"NYSE:IBM,{NOW},,2,,,,\n"
    )
    result = import_features(project, "mine", [file])
    assert (result.written, result.refused, result.ignored_columns) == (2, 0, ("note",))
    first, second = rows(project)
    assert first["symbol"] == "NASDAQ:AAPL"
    assert first["event_timestamp"] == datetime(2021, 4, 9, 20, tzinfo=UTC)
    assert first["timestamp"] == int(first["event_timestamp"].timestamp())
    assert first["created_timestamp"] >= MONDAY
    assert (first["score"], first["rank"], first["side"], first["held"]) == (0.25, 3, "long", True)
    assert first["since"] == datetime(2020, 1, 2, tzinfo=UTC)
    assert (second["score"], second["rank"], second["side"], second["held"]) == (
        None,
        2,
        None,
        None,
    )
    again = import_features(project, "mine", [file])
    assert (again.written, again.unchanged) == (0, 2)
    file.write_text(file.read_text().replace("0.25", "0.5"))
    assert import_features(project, "mine", [file]).written == 1
    assert rows(project)[0]["score"] == 0.5


def test_each_bad_row_is_refused_with_its_reason_and_the_others_are_stored(
    project: Project, tmp_path: Path
):
    bad = {
        f"aapl,{NOW},0.5,1": "upper case|EXCHANGE:TICKER",
        "NYSE:A,2021-04-13T00:00Z,0.5,1": "in the future",
        "NYSE:B,2021-04-09,0.5,1": "no time of day",
        "NYSE:C,,0.5,1": "event_timestamp is empty",
        "NYSE:D,last:week,0.5,1": "not an ISO 8601 time",
        f"NYSE:E,{NOW},much,1": "score is no number",
        f"NYSE:F,{NOW},inf,1": "score is infinite",
        f"NYSE:G,{NOW},0.5,1.5": "rank is no whole number",
        "NYSE:H,2021-04-12T20:00:00.5Z,0.5,1": "fraction of a second",
        f"NYSE:I,{NOW},0.5,1,2,3": "another number of cells",
        f"NYSE:GOOD,{NOW},0.75,1": "with other values",
    }
    file = tmp_path / "rows.csv"
    lines = ["symbol,event_timestamp,score,rank", f"NYSE:GOOD,{NOW},0.5,1", *bad]
    file.write_text("\n".join(lines) + "\n")
    result = import_features(project, "mine", [file])
    assert (result.read, result.written, result.refused) == (12, 1, len(bad))
    told = "\n".join(result.refused_rows)
    for reason in bad.values():
        assert any(each in told for each in reason.split("|")), reason
    assert f"{file}, row 3: event_timestamp is in the future" in told
    assert "1 of 12 rows written to mine, 11 refused" in import_text(result)
    with pytest.raises(GateRefused, match="11 of 12 rows were not taken"):
        demand_all(result)


def test_a_row_that_breaks_a_bound_is_quarantined(project: Project, tmp_path: Path):
    table = {
        "symbol": ["NYSE:A", "NYSE:B"],
        "event_timestamp": [datetime(2021, 4, 9, 20, tzinfo=UTC)] * 2,
        "score": [0.5, 1.5],
        "rank": [1, 2],
    }
    pq.write_table(pa.table(table), tmp_path / "rows.parquet")
    result = import_features(project, "mine", [tmp_path / "rows.parquet"])
    assert (result.written, result.quarantined) == (1, 1)
    assert [row["symbol"] for row in rows(project)] == ["NYSE:A"]


def test_what_takes_no_files_is_refused(project: Project, tmp_path: Path):
    file = tmp_path / "rows.csv"
    file.write_text("symbol,event_timestamp,rank\n")
    with pytest.raises(
        InputError, match="has no column score; it has symbol, event_timestamp, rank"
    ):
        import_features(project, "mine", [file])
    with pytest.raises(InputError, match="rows of tv_technicals_1d do not come from files"):
        import_features(project, "tv_technicals_1d", [file])
    with pytest.raises(InputError, match="cannot be read"):
        import_features(project, "mine", [tmp_path / "none.parquet"])


def test_imported_rows_are_judged_served_and_ranked_like_others(project: Project, tmp_path: Path):
    file = tmp_path / "rows.csv"
    file.write_text(
        f"symbol,event_timestamp,score,rank\nNYSE:A,{NOW},0.5,1\nNYSE:B,{NOW},0.75,2\n"
        "NYSE:B,2021-04-09T20:00Z,0.125,2\n"
    )
    import_features(project, "mine", [file])
    verdict = validate(project)
    assert "mine" in verdict.promoted
    materialize(project, groups=[project.catalog.group("mine")])
    found = select(project, SelectRequest(by="mine:score"))
    assert [(row.symbol, row.features["score"]) for row in found.rows] == [
        ("NYSE:B", 0.75),
        ("NYSE:A", 0.5),
    ]
    friday = datetime(2021, 4, 9, 21, tzinfo=UTC)
    before = select(project, SelectRequest(by="mine:score", as_of=friday))
    assert [(row.symbol, row.features["score"]) for row in before.rows] == [("NYSE:B", 0.125)]
    assert before.written_later == 1


def test_a_group_of_files_that_nobody_has_brought_yet_is_a_warning_and_an_old_one_is_late(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def told() -> list[list[str]]:
        report = status(project)
        return [
            [each for each in texts if "mine" in each]
            for texts in (
                report.problems,
                report.warnings,
            )
        ]

    wanted = "mine has no rows yet: run `tvfeast import-features mine FILE`"
    assert told() == [[], [wanted]]
    file = tmp_path / "rows.csv"
    file.write_text(f"symbol,event_timestamp,score,rank\nNYSE:A,{NOW},0.5,1\n")
    import_features(project, "mine", [file])
    assert told() == [[], []]
    monkeypatch.setenv("TVFEAST_NOW", "2021-04-17T20:00Z")
    problems, warnings = told()
    assert problems == ["mine is 5 days, 0:00:00 old, more than 4 days, 0:00:00"]
    assert warnings == []
