from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingestion.base.errors import InputError
from ingestion.datasets import set_file
from ingestion.datasets.set_file import json_beside
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.training_set import TrainingSetRequest, training_set
from ingestion.lakehouse import append_part, list_parts, read_file
from ingestion.project import Project
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.feast_repository.conftest import WEEK
from tests.lakehouse.technicals import technicals

FRIDAY = WEEK[-1]
FEATURES = [column.name for column in GROUP.features]


@pytest.fixture(autouse=True)
def now_is_friday_evening(at):
    at(FRIDAY)


def lakehouse_rows(settings: Project) -> list[dict]:
    parts = list_parts(settings.lakehouse, GROUP)
    return [row for part in parts for row in read_file(part).to_pylist()]


def brute_force(rows: list[dict], symbol: str, at: datetime, as_recorded: bool) -> dict:
    """The reference: of all rows valid at that time, the newest event, then the newest created."""
    valid = [
        row
        for row in rows
        if row["symbol"] == symbol
        and row["event_timestamp"] <= at
        and at - row["event_timestamp"] <= GROUP.ttl
        and (not as_recorded or row["created_timestamp"] <= at)
    ]
    newest = max(
        valid, key=lambda row: (row["event_timestamp"], row["created_timestamp"]), default={}
    )
    return {name: newest.get(name) for name in FEATURES}


def join(settings: Project, labels: pd.DataFrame, folder: Path, **options) -> pd.DataFrame:
    path, out = folder / "labels.parquet", folder / "out" / "training.parquet"
    labels.to_parquet(path)
    training_set(settings, TrainingSetRequest(path, out, **options))
    return pq.read_table(out).to_pandas()


def assert_is_the_reference(joined: pd.DataFrame, settings: Project, as_recorded: bool) -> None:
    rows = lakehouse_rows(settings)
    for label in joined.to_dict("records"):
        at = label["event_timestamp"].to_pydatetime()
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
        expected = brute_force(rows, label["symbol"], at, as_recorded)
        actual = {n: None if np.isnan(label[n]) else label[n] for n in FEATURES}
        assert actual == expected


MICROSECOND = timedelta(microseconds=1)
times = st.builds(
    lambda day, offset: WEEK[day] + offset,
    st.integers(0, 4),
    st.sampled_from([timedelta(0), MICROSECOND, -MICROSECOND, GROUP.ttl, GROUP.ttl + MICROSECOND])
    | st.timedeltas(timedelta(days=-3), timedelta(days=6)),
)
symbols = st.sampled_from(["NASDAQ:AAPL", "BINANCE:BTCUSDT", "NYSE:IBM", "X:GONE"])
labels = st.lists(st.tuples(symbols, times), min_size=1, max_size=30)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(labels, st.booleans())
def test_every_label_is_kept_in_order_with_the_features_of_its_time(
    week: Project, tmp_path: Path, keys, as_recorded: bool
):
    frame = pd.DataFrame(keys, columns=["symbol", "event_timestamp"])
    frame["event_timestamp"] = frame["event_timestamp"].astype("datetime64[us, UTC]")
    frame["target"] = np.arange(len(frame)) / 7
    joined = join(week, frame, tmp_path, as_recorded=as_recorded)
    pd.testing.assert_frame_equal(joined[list(frame.columns)], frame)
    assert list(joined.columns) == [*frame.columns, *FEATURES]
    assert_is_the_reference(joined, week, as_recorded)


def test_knowable_uses_a_restatement_and_as_recorded_does_not(
    writable_week: Project, tmp_path: Path
):
    restated = technicals(["NASDAQ:AAPL"], WEEK[1], created=FRIDAY, RSI=[7.0])
    append_part(writable_week.lakehouse, GROUP, restated, "restated")
    materialize(writable_week)
    frame = pd.DataFrame({"symbol": ["NASDAQ:AAPL"] * 2, "event_timestamp": [WEEK[1], FRIDAY]})
    knowable = join(writable_week, frame[:1], tmp_path)
    assert knowable["RSI"].tolist() == [7.0]
    recorded = join(writable_week, frame, tmp_path, as_recorded=True)
    assert 7.0 not in recorded["RSI"].tolist()
    assert_is_the_reference(recorded, writable_week, as_recorded=True)


@pytest.mark.parametrize(
    "times",
    [
        ["2021-04-14T22:00:00Z", "2021-04-15 22:00"],
        ["2021-04-14T18:00:00-04:00", "2021-04-15T22:00:00"],
    ],
)
def test_csv_times_are_utc_unless_they_say_otherwise(week: Project, tmp_path: Path, times):
    path = tmp_path / "labels.csv"
    path.write_text(
        f"symbol,event_timestamp,target\nNASDAQ:AAPL,{times[0]},0.1\nNASDAQ:AAPL,{times[1]},0.2\n"
    )
    out = tmp_path / "out.parquet"
    result = training_set(week, TrainingSetRequest(path, out))
    rows = lakehouse_rows(week)
    expected = [
        brute_force(rows, "NASDAQ:AAPL", datetime(2021, 4, day, 22, tzinfo=UTC), False)["RSI"]
        for day in (14, 15)
    ]
    assert pq.read_table(out)["RSI"].to_pylist() == expected
    assert (result.rows, result.matched) == (2, 2)


def test_a_time_without_a_zone_does_not_take_that_of_the_row_before(week: Project, tmp_path: Path):
    """Four hours later the evening's snapshot would have been known."""
    path, out = tmp_path / "labels.csv", tmp_path / "out.parquet"
    path.write_text(
        "symbol,event_timestamp\n"
        "NASDAQ:AAPL,2021-04-14T18:00:00-04:00\nNASDAQ:AAPL,2021-04-15T20:00\n"
    )
    training_set(week, TrainingSetRequest(path, out))
    at = datetime(2021, 4, 15, 20, tzinfo=UTC)
    expected = brute_force(lakehouse_rows(week), "NASDAQ:AAPL", at, False)["RSI"]
    assert pq.read_table(out)["RSI"][1].as_py() == expected


def test_rows_that_were_written_after_their_label_are_counted(
    writable_week: Project, tmp_path: Path
):
    restated = technicals(["NASDAQ:AAPL"], WEEK[1], created=FRIDAY, RSI=[7.0])
    append_part(writable_week.lakehouse, GROUP, restated, "restated")
    materialize(writable_week)
    path = tmp_path / "labels.parquet"
    pd.DataFrame(
        {"symbol": ["NASDAQ:AAPL", "NASDAQ:MSFT"], "event_timestamp": [WEEK[1]] * 2}
    ).to_parquet(path)
    for as_recorded, later in ((False, 1), (True, 0)):
        request = TrainingSetRequest(path, tmp_path / "out.parquet", as_recorded=as_recorded)
        result = training_set(writable_week, request)
        assert result.created_later == later
        told = json.loads(result.receipt.path.read_bytes())
        assert told["views"][GROUP.name] == {"matched": 2, "created_later": later}


class TestOut:
    """Whoever looks at ``--out`` sees a whole training set, or what was there before."""

    @pytest.fixture
    def request_of(self, tmp_path: Path):
        out = tmp_path / "out" / "training.parquet"

        def request_of(rows: int) -> TrainingSetRequest:
            stamps = pa.array([FRIDAY] * rows, pa.timestamp("us", "UTC"))
            keys = {"symbol": ["NASDAQ:AAPL"] * rows, "event_timestamp": stamps}
            return TrainingSetRequest(pa.table(keys), out)

        return request_of

    def test_two_runs_at_once_write_one_after_the_other(
        self, week: Project, request_of, monkeypatch: pytest.MonkeyPatch
    ):
        write = pq.ParquetWriter.write_table

        def beside(*arguments, **options):
            write(*arguments, **options)
            monkeypatch.setattr(pq.ParquetWriter, "write_table", write)
            assert training_set(week, request_of(2)).rows == 2
            assert pq.read_metadata(request_of(2).out).num_rows == 2

        monkeypatch.setattr(pq.ParquetWriter, "write_table", beside)
        result = training_set(week, request_of(3))
        assert pq.read_metadata(result.out).num_rows == result.rows == 3
        assert {*result.out.parent.iterdir()} == {result.out, json_beside(result.out)}

    def test_a_run_that_fails_leaves_what_was_there(
        self, week: Project, request_of, monkeypatch: pytest.MonkeyPatch
    ):
        out = training_set(week, request_of(2)).out

        def torn(*_: object) -> None:
            raise OSError("No space left on device")

        monkeypatch.setattr(pq.ParquetWriter, "write_table", torn)
        with pytest.raises(OSError, match="No space"):
            training_set(week, request_of(3))
        assert pq.read_metadata(out).num_rows == 2
        assert {*out.parent.iterdir()} == {out, json_beside(out)}

    def test_it_is_on_the_disk_before_it_takes_its_place(
        self, week: Project, request_of, monkeypatch: pytest.MonkeyPatch
    ):
        out, synced = request_of(1).out, []
        monkeypatch.setattr(
            set_file, "sync", lambda path: synced.append((path.is_dir(), out.exists()))
        )
        training_set(week, request_of(1))
        assert synced == [(False, False), (False, False), (True, True)]


def test_labels_without_features_are_kept_counted_and_their_symbols_named(
    week: Project, tmp_path: Path
):
    symbols = ["X:GONE", "NASDAQ:AAPL", "NASDAQ:APPL"]
    frame = pd.DataFrame({"symbol": symbols, "event_timestamp": [FRIDAY] * 3})
    path = tmp_path / "labels.parquet"
    frame.to_parquet(path)
    result = training_set(week, TrainingSetRequest(path, tmp_path / "out.parquet"))
    assert (result.rows, result.matched) == (3, 1)
    assert result.warnings == (
        "no feature was known of NASDAQ:APPL (did you mean NASDAQ:AAPL?), X:GONE",
    )


def bad(folder: Path, frame: pd.DataFrame) -> Path:
    path = folder / "labels.parquet"
    frame.to_parquet(path)
    return path


@pytest.mark.parametrize(
    ("frame", "told"),
    [
        (pd.DataFrame({"symbol": ["A:A"]}), "no column event_timestamp"),
        (pd.DataFrame({"symbol": [], "event_timestamp": []}), "no rows"),
        (pd.DataFrame({"symbol": [None], "event_timestamp": [FRIDAY]}), "1 row has no symbol"),
        (pd.DataFrame({"symbol": [7], "event_timestamp": [FRIDAY]}), "no text, but int64"),
        (pd.DataFrame({"symbol": ["A:A"], "event_timestamp": [1618500000]}), "is a number"),
        (
            pd.DataFrame({"symbol": ["A:A"] * 2, "event_timestamp": ["2021-04-12", "soon"]}),
            r"row 2.*'soon'",
        ),
        (
            pd.DataFrame({"symbol": ["A:A"], "event_timestamp": [FRIDAY], "RSI": [1.0]}),
            "RSI is a feature's name",
        ),
    ],
)
def test_labels_that_cannot_be_joined_are_refused(week: Project, tmp_path: Path, frame, told):
    out = tmp_path / "out.parquet"
    with pytest.raises(InputError, match=told):
        training_set(week, TrainingSetRequest(bad(tmp_path, frame), out))
    assert not out.exists()


def test_a_missing_or_broken_label_file_is_an_input_error(week: Project, tmp_path: Path):
    (tmp_path / "broken.parquet").write_bytes(b"PAR1")
    for name in ("missing.csv", "broken.parquet", "."):
        with pytest.raises(InputError, match="cannot be read"):
            training_set(week, TrainingSetRequest(tmp_path / name, tmp_path / "out.parquet"))


def test_an_unknown_service_is_refused_with_the_known_ones(week: Project, tmp_path: Path):
    path = bad(tmp_path, pd.DataFrame({"symbol": ["A:A"], "event_timestamp": [FRIDAY]}))
    with pytest.raises(InputError, match=r"selection_v1.*served_history_v1|served.*selection"):
        training_set(week, TrainingSetRequest(path, tmp_path / "out.parquet", service="nope"))
