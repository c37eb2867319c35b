"""Features of any groups, ranked and trained on together, with each group's own age."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import InputError
from ingestion.cli.serving import selection_rows, selection_text
from ingestion.cli.tables import csv_text
from ingestion.jobs.ingest.import_features import import_features
from ingestion.jobs.serve.ages import NEVER, ages_at
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.jobs.serve.training_set import TrainingSetRequest, training_set
from ingestion.lakehouse import list_parts, read_part
from ingestion.project import Project
from tests.conftest import MONDAY
from tests.declared import TV_TECHNICALS_1D
from tests.feast_repository.conftest import WEEK
from tests.jobs.test_import_features import GROUP

THURSDAY = datetime(2021, 4, 15, 20, tzinfo=UTC)
A, B = "NASDAQ:AAPL", "NYSE:IBM"


@pytest.fixture
def both(writable_week: Project, tmp_path: Path, at) -> Project:
    """The week's last evening, with a further group: two scores of A, none of B."""
    at(WEEK[-1])
    folder = writable_week.feast_repository / "groups"
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(GROUP)
    vars(writable_week).pop("catalog", None)
    file = tmp_path / "scores.csv"
    file.write_text(
        "symbol,event_timestamp,score,rank\n"
        f"{A},2021-04-09T20:00Z,0.25,1\n{A},2021-04-15T20:00Z,0.75,1\n"
    )
    import_features(writable_week, "mine", [file])
    materialize(writable_week)
    return writable_week


def test_a_ranking_shows_features_of_any_group_with_its_age(both: Project):
    chosen = select(both, SelectRequest(features=("mine:score",), symbols=(A, B)))
    by_symbol = {row.symbol: row for row in chosen.rows}
    assert by_symbol[A].features["score"] == 0.75
    assert by_symbol[B].features["score"] is None
    assert by_symbol[A].others["mine"] == THURSDAY
    assert by_symbol[B].others["mine"] is None
    assert by_symbol[A].others.keys() == {"mine", "local_1d"}
    assert chosen.groups == ("mine",)
    head = selection_text(chosen).splitlines()[0]
    assert "mine age" in head
    printed = io.StringIO(csv_text(selection_rows(chosen)))
    rows = {row["symbol"]: row for row in csv.DictReader(printed)}
    assert rows[A]["mine_age_s"] == str(int((chosen.at - THURSDAY).total_seconds()))
    assert rows[B]["mine_age_s"] == ""


def test_the_same_as_of_an_instant(both: Project):
    at = MONDAY + timedelta(hours=1)
    chosen = select(both, SelectRequest(features=("mine:score",), symbols=(A, B), as_of=at))
    (row,) = [row for row in chosen.rows if row.symbol == A]
    # Snapshots are as they were recorded; the scores were written later than that instant.
    assert row.features["score"] is None
    assert row.others["mine"] is None
    history = select(both, SelectRequest(by="mine:score", symbols=(A, B), as_of=at))
    assert [(row.symbol, row.features["score"]) for row in history.rows] == [(A, 0.25)]


def test_a_training_set_joins_features_of_any_group_with_its_age(both: Project, tmp_path: Path):
    times = [MONDAY + timedelta(hours=1), THURSDAY + timedelta(days=1), MONDAY]
    labels = pa.table(
        {
            "symbol": [A, A, B],
            "event_timestamp": pa.array(times, pa.timestamp("us", "UTC")),
            "target": [1.0, 2.0, 3.0],
        }
    )
    out = tmp_path / "set.parquet"
    features = ("mine:score", "tv_technicals_1d:RSI", "rank")
    result = training_set(both, TrainingSetRequest(labels, out, features=features, ages=True))
    assert result.features == ("score", "RSI", "rank")
    made = pq.read_table(out).to_pydict()
    assert made["score"] == [0.25, 0.75, None]
    assert made["mine__age_s"] == [3 * 86_400 + 9_000, 86_400, None]
    # Snapshots are of 21:30: Monday's an hour before, Thursday's, Monday's at the very second.
    assert made["tv_technicals_1d__age_s"] == [3_600, 22 * 3_600 + 1_800, 0]
    assert None not in made["RSI"]
    assert made["target"] == [1.0, 2.0, 3.0]


def test_a_feature_that_nobody_has_or_several_have_is_refused(both: Project, tmp_path: Path):
    labels = pa.table({"symbol": [A], "event_timestamp": pa.array([MONDAY])})
    for name, said in (("RSI", "2 groups have 'RSI'"), ("tv_x:RSI", "no group 'tv_x'")):
        with pytest.raises(InputError, match=said):
            training_set(both, TrainingSetRequest(labels, tmp_path / "x.parquet", features=(name,)))


def test_ages_are_those_of_the_newest_row_inside_the_time_to_live(week: Project):
    rows = [
        (row["symbol"], row["event_timestamp"], row["created_timestamp"])
        for part in list_parts(week.lakehouse, TV_TECHNICALS_1D)
        for row in read_part(part, TV_TECHNICALS_1D).to_pylist()
    ]
    rng = np.random.default_rng(3)
    symbols = rng.choice([*{row[0] for row in rows}, "X:NONE"], 300).tolist()
    first = min(row[1] for row in rows) - timedelta(hours=3)
    instants = [first + timedelta(seconds=int(s)) for s in rng.integers(0, 12 * 86_400, 300)]
    # The time to live ends between two microseconds, as in the join.
    for symbol, event, _ in rows:
        end = event + TV_TECHNICALS_1D.ttl
        symbols += [symbol] * 3
        instants += [end, end + timedelta(microseconds=1), event - timedelta(microseconds=1)]
    micros = np.array([int(each.timestamp() * 1_000_000) for each in instants], dtype=np.int64)
    for as_recorded in (False, True):
        found = ages_at(week.lakehouse, TV_TECHNICALS_1D, symbols, micros, as_recorded=as_recorded)
        for symbol, at, age in zip(symbols, instants, found.tolist(), strict=True):
            known = [
                event
                for name, event, created in rows
                if name == symbol and event <= at and (created <= at or not as_recorded)
            ]
            newest = max(known, default=None)
            expected = NEVER
            if newest is not None and at - newest <= TV_TECHNICALS_1D.ttl:
                expected = int((at - newest).total_seconds())
            assert age == expected, (symbol, at)
