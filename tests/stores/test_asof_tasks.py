"""Entity rows in files and on engines: slices by time, each answered by a task of its own."""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Field
from feast.errors import FeastEntityDFMissingColumnsError, SavedDatasetLocationAlreadyExists
from feast.infra.offline_stores.file_source import SavedDatasetFileStorage
from feast.on_demand_feature_view import on_demand_feature_view
from feast.types import Float64
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from pyarrow import fs

from ingestion.base import executors
from ingestion.base.columns import INSTANT
from ingestion.base.errors import InputError, TvfeastError
from ingestion.base.instants import to_micros
from ingestion.base.objects import Objects
from ingestion.plugins.offline.answer_files import Tasks
from ingestion.plugins.offline.entities import EntityRows
from ingestion.plugins.offline.files import Location
from ingestion.plugins.offline.historical import Retrieved, ViewTable, Wanted
from ingestion.plugins.offline.slices import Questions
from ingestion.plugins.offline.writing import files_in, filling, write_whole
from tests.conftest import ENGINES
from tests.stores.asof_lake import feature_table, write
from tests.stores.asof_reference import best_row
from tests.stores.asof_repository import repository, signals_view, symbol
from tests.stores.failing_tasks import failing, killed_once
from tests.stores.test_asof_history import (
    CASES,
    TTL,
    files,
    questions,
    write_files,
    write_newest_file,
)

pytestmark = [pytest.mark.filterwarnings("ignore:.*experimental:RuntimeWarning")]

MONDAY = datetime(2021, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ASKED = {"symbol": pa.string(), "event_timestamp": INSTANT, "label": pa.int64()}


def local(path: Path | str) -> Location:
    return Location(fs.LocalFileSystem(), str(path))


def wanted(root: Path, ttl: timedelta | None = None, *, as_recorded: bool = False) -> Wanted:
    """RSI and name_y of the files in a folder."""
    refs = {"signals:RSI": "RSI", "signals:name_y": "name_y"}
    view = ViewTable(
        "signals", feature_table(root), ("symbol",), refs, None if ttl is None else to_micros(ttl)
    )
    return Wanted([view], [*refs], as_recorded)


def tasks(executor: str, rows_per_task: int, staging: Path | None = None) -> Tasks:
    return Tasks(executor, rows_per_task, staging and local(staging))


def asked_of(questions) -> list[dict]:
    return [
        {"symbol": key, "event_timestamp": at, "label": number}
        for number, (key, at) in enumerate(questions)
    ]


def write_questions(folder: Path, rows: list[dict], cuts: list[int]) -> None:
    """Write rows as several files, each of small row groups."""
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    for number, (begin, end) in enumerate(itertools.pairwise(edges)):
        write(folder / f"part-{number}.parquet", rows[begin:end], ASKED, row_group_size=2)


def in_slices(rows: list[dict], at_most: int) -> list[list[dict]]:
    """By day, and of one day by place, the next so many; each slice by place."""
    by_day = sorted(
        range(len(rows)),
        key=lambda n: (at := rows[n]["event_timestamp"]) is not None and at.date().toordinal(),
    )
    count = max(-(-len(rows) // at_most), 1)
    edges = [len(rows) * number // count for number in range(count + 1)]
    return [
        [rows[n] for n in sorted(by_day[begin:end])] for begin, end in itertools.pairwise(edges)
    ]


@settings(max_examples=CASES // 16, deadline=None)
@given(
    files,
    questions,
    st.lists(st.integers(0, 12), max_size=3),
    st.integers(1, 5),
    st.sampled_from([None, TTL]),
    st.booleans(),
)
def test_each_slice_is_a_file_of_the_answers_of_the_brute_force_search(
    files, questions, cuts, at_most, ttl, as_recorded
):
    asked = asked_of(questions)
    with tempfile.TemporaryDirectory() as temporary:
        root, answers = Path(temporary) / "lake", local(Path(temporary) / "answers")
        rows = write_files(root, files, "", dated=False)
        write_newest_file(root)
        write_questions(Path(temporary) / "questions", asked, cuts)
        Path(answers.path).mkdir()
        counts = tasks("local", at_most).answer(
            Questions.at(local(Path(temporary) / "questions")),
            wanted(root, ttl, as_recorded=as_recorded),
            Retrieved.table,
            answers,
        )
        found = [pq.read_table(path) for path in files_in(answers)]
    best = [
        best_row(
            rows,
            {"symbol": row["symbol"]},
            row["event_timestamp"],
            ttl=ttl,
            as_recorded=as_recorded,
        )
        for row in asked
    ]
    expected = [
        [
            row | {name: each and each[name] for name in ("RSI", "name_y")}
            for row in some
            for each in [best[row["label"]]]
        ]
        for some in in_slices(asked, at_most)
    ]
    assert [table.to_pylist() for table in found] == expected
    assert {table.schema for table in found} == {found[0].schema}
    assert max(table.num_rows for table in found) <= at_most
    assert counts["signals"].matched == sum(each is not None for each in best)


def random_cases(count: int) -> list[tuple[list, list]]:
    """Histories, each with questions about it; the symbols of each are its own."""
    found: list[tuple[list, list]] = []

    @settings(max_examples=count, deadline=None, phases=[Phase.generate])
    @given(files, questions)
    def collect(history, asked):
        case = len(found)
        named = [
            ([row | {"symbol": named_in(case, row["symbol"])} for row in rows], types)
            for rows, types in history
        ]
        found.append((named, [(named_in(case, key), at) for key, at in asked]))

    collect()
    return found


def named_in(case: int, name: str | None) -> str | None:
    return name and f"{case}:{name}"


@pytest.mark.parametrize("as_recorded", [False, True])
def test_an_engine_answers_as_this_process_does_row_for_row(engine, as_recorded, tmp_path: Path):
    """Some cases at a time: an engine takes about as long for one as for all of them."""
    cases = random_cases(CASES // 2)
    assert len(cases) == CASES // 2
    for number, first in enumerate(range(0, len(cases), 50)):
        some = cases[first : first + 50]
        folder = tmp_path / str(number)
        write_files(folder / "lake", [each for history, _ in some for each in history], "", False)
        write_newest_file(folder / "lake")
        what = wanted(folder / "lake", TTL, as_recorded=as_recorded)
        asked = [
            {"symbol": key, "event_timestamp": at, "label": case}
            for case, (_, questions) in enumerate(some)
            for key, at in questions
        ]
        rows = EntityRows.of(pa.Table.from_pylist(asked, pa.schema(ASKED)))
        at_most = len(asked) // (2 + number % 7)
        here = tasks("local", at_most).answer_here(rows, what, as_frame=False)
        there = tasks(engine, at_most, folder).answer_here(rows, what, as_frame=False)
        pairs = zip(there.table().to_pylist(), here.table().to_pylist(), strict=True)
        assert [some[mine["label"]] for mine, other in pairs if mine != other] == []
        assert there.table().equals(here.table())
        assert there.counts == here.counts
        assert [path.name for path in folder.iterdir()] == ["lake"]
        shutil.rmtree(folder)


def test_an_engine_writes_the_files_that_this_process_writes(engine, tmp_path: Path):
    days = [MONDAY + day * DAY for day in range(9)]
    write(tmp_path / "lake" / "a.parquet", [signal_of("A", day, float(day.day)) for day in days])
    asked = asked_of([("A", day + timedelta(hours=n)) for day in days[::-1] for n in range(5)])
    write_questions(tmp_path / "questions", asked, [7, 20])
    made = {}
    for executor in ("local", engine):
        folder = local(tmp_path / executor)
        with filling(folder) as unfinished:
            tasks(executor, 10).answer(
                Questions.at(local(tmp_path / "questions")),
                wanted(tmp_path / "lake", TTL),
                Retrieved.table,
                unfinished,
            )
        made[executor] = [Path(path).read_bytes() for path in files_in(folder)]
    assert len(made["local"]) == 5
    assert made[engine] == made["local"]


def signal_of(name: str, event: datetime, rsi: float) -> dict:
    at = {"event_timestamp": event, "created_timestamp": event}
    return {"symbol": name, "RSI": rsi, "name_y": f"{name} of {event:%d}"} | at


def test_a_task_that_is_killed_is_done_again(engine, tmp_path: Path):
    work = partial(killed_once, local(tmp_path))
    assert list(executors.run(engine, work, range(4))) == [0, 1, 2, 3]
    written = [path for path in tmp_path.iterdir() if path.suffix == ".parquet"]
    assert sorted(pq.read_table(path)["number"].to_pylist() for path in written) == [
        [0],
        [1],
        [2],
        [3],
    ]


@pytest.mark.parametrize(("kind", "attempts"), [(OSError, 4), (InputError, 1)])
def test_a_task_that_fails_each_time_is_told_in_one_line(
    engine, tmp_path: Path, kind: type[Exception], attempts: int
):
    work = partial(failing, local(tmp_path), kind)
    with pytest.raises(TvfeastError, match=r"worker 2|is full") as told:
        list(executors.run(engine, work, range(4)))
    assert isinstance(told.value, kind) or "\n" not in str(told.value)
    assert (tmp_path / "attempts").read_text().split().count("2") == attempts


@pytest.mark.parametrize("executor", ENGINES)
def test_an_engine_that_is_not_installed_is_named_with_what_to_install(
    executor: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, {"ray": "ray", "spark": "pyspark"}[executor], None)
    write(tmp_path / "signals.parquet", [signal_of("A", MONDAY, 1.0)])
    store = repository(tmp_path, symbol, signals_view("signals.parquet"), executor=executor)
    asked = pd.DataFrame({"symbol": ["A"], "event_timestamp": [MONDAY]})
    with pytest.raises(InputError, match=rf"pip install '\.\[{executor}\]'"):
        store.get_historical_features(asked, REFS)


REFS = ["signals:RSI", "signals:name_y"]
ROWS = [signal_of(name, MONDAY + day * DAY, day + 0.5) for day in range(6) for name in "AB"]
ASKED_ROWS = asked_of(
    [(name, MONDAY + day * DAY + timedelta(hours=1)) for day in (5, 1, 3) for name in "BAZ"]
)


@pytest.fixture
def store(tmp_path: Path):
    write(tmp_path / "data" / "signals.parquet", ROWS)
    write_questions(tmp_path / "questions", ASKED_ROWS, [4])
    view = signals_view("data/signals.parquet")
    return repository(
        tmp_path, symbol, view, rows_per_task=4, staging_location=str(tmp_path / "staging")
    )


def expected_of(rows: list[dict]) -> list[dict]:
    answered = []
    for row in rows:
        best = best_row(
            ROWS, {"symbol": row["symbol"]}, row["event_timestamp"], ttl=2 * DAY, as_recorded=False
        )
        answered.append(row | {name: best and best[name] for name in ("RSI", "name_y")})
    return answered


@pytest.mark.parametrize("given", ["questions", "questions/*.parquet", Path("questions")])
def test_entity_rows_are_read_from_the_files_that_an_address_names(store, given):
    job = store.get_historical_features(given, REFS)
    assert job.to_arrow().to_pylist() == expected_of(ASKED_ROWS)
    assert job.metadata.keys == ["symbol", "label"]
    assert job.metadata.min_event_timestamp == MONDAY + DAY + timedelta(hours=1)
    assert job.to_df()["label"].tolist() == list(range(9))


def test_a_saved_dataset_of_rows_in_files_is_a_file_for_each_task(store, tmp_path: Path):
    job = store.get_historical_features("questions", REFS)
    storage = SavedDatasetFileStorage(path="saved")
    dataset = store.create_saved_dataset(job, "of_files", storage)
    slices = in_slices(ASKED_ROWS, 4)
    paths = sorted((tmp_path / "saved").iterdir())
    assert [pq.read_table(path).to_pylist() for path in paths] == [*map(expected_of, slices)]
    in_order = [row["RSI"] for some in slices for row in expected_of(some)]
    assert dataset.to_arrow()["RSI"].to_pylist() == in_order
    assert job.counts["signals"].matched == 6
    with pytest.raises(SavedDatasetLocationAlreadyExists):
        job.persist(storage)
    store.get_historical_features("questions/part-0.parquet", REFS).persist(storage, True)
    assert pq.read_table(tmp_path / "saved").to_pylist() == expected_of(ASKED_ROWS[:4])
    job.persist(SavedDatasetFileStorage(path="one.parquet"))
    assert pq.read_table(tmp_path / "one.parquet").to_pylist() == expected_of(ASKED_ROWS)
    hidden = [path.name for path in tmp_path.iterdir() if path.name.startswith(("_", "."))]
    assert hidden == []


def test_what_is_asked_for_in_remote_storage_lies_in_the_staging_location(store, tmp_path: Path):
    for asked in ("questions", pd.DataFrame(ASKED_ROWS)):
        paths = store.get_historical_features(asked, REFS).to_remote_storage()
        assert {Path(path).parent.parent for path in paths} == {tmp_path / "staging"}
        rows = pa.concat_tables(map(pq.read_table, paths)).sort_by("label").to_pylist()
        assert rows == expected_of(ASKED_ROWS)


def test_an_engine_gives_back_a_frame_as_it_was(engine, store, tmp_path: Path):
    frame = pd.DataFrame(ASKED_ROWS).astype({"label": "Int8", "symbol": "category"})
    frame.index = range(50, 59)
    here = store.get_historical_features(frame, REFS).to_df()
    there = repository(
        tmp_path,
        symbol,
        signals_view("data/signals.parquet"),
        executor=engine,
        rows_per_task=4,
        staging_location="staging",
    )
    job = there.get_historical_features(frame, REFS)
    pd.testing.assert_frame_equal(job.to_df(), here)
    assert len(job.to_remote_storage()) == 3
    with pytest.raises(InputError, match="set staging_location"):
        repository(
            tmp_path,
            symbol,
            signals_view("data/signals.parquet"),
            executor=engine,
            rows_per_task=4,
        ).get_historical_features(frame, REFS).to_df()


def test_on_demand_features_are_computed_by_each_task(store, tmp_path: Path):
    @on_demand_feature_view(
        sources=[store.get_feature_view("signals")],
        schema=[Field(name="twice", dtype=Float64)],
        mode="pandas",
    )
    def doubled(inputs: pd.DataFrame) -> pd.DataFrame:
        return pd.DataFrame({"twice": inputs["RSI"] * 2})

    store.apply([doubled])
    job = store.get_historical_features("questions", [*REFS, "doubled:twice"])
    job.persist(SavedDatasetFileStorage(path="saved"))
    rows = pq.read_table(tmp_path / "saved").sort_by("label").to_pylist()
    assert [row["twice"] for row in rows] == [
        None if row["RSI"] is None else row["RSI"] * 2 for row in expected_of(ASKED_ROWS)
    ]


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ("SELECT 1", InputError, "no Parquet file at .*SELECT 1.*no SQL query"),
        ("nowhere/", InputError, "no Parquet file"),
        ("data", InputError, "RSI would be a second column RSI"),
        ("keyless", FeastEntityDFMissingColumnsError, "symbol"),
        ("timeless", InputError, "event_timestamp is double and cannot be read"),
    ],
)
def test_files_that_are_no_entity_rows_are_refused(store, tmp_path: Path, given, error, told):
    write(tmp_path / "keyless" / "a.parquet", [], {"event_timestamp": INSTANT})
    timeless = {"symbol": pa.string(), "event_timestamp": pa.float64()}
    write(tmp_path / "timeless" / "a.parquet", [{"symbol": "A", "event_timestamp": 1.0}], timeless)
    with pytest.raises(error, match=told):
        store.get_historical_features(given, REFS).persist(SavedDatasetFileStorage(path="saved"))
    assert not (tmp_path / "saved").exists()


def test_questions_that_are_written_anew_meanwhile_are_refused(store, tmp_path: Path):
    job = store.get_historical_features("questions", REFS)
    write_questions(tmp_path / "questions", ASKED_ROWS[:5] * 2, [4])
    with pytest.raises(InputError, match="written anew while"):
        job.persist(SavedDatasetFileStorage(path="saved"))
    assert not (tmp_path / "saved").exists()


def test_an_answer_that_fails_leaves_what_was_there(tmp_path: Path):
    """On a local disk, and in a file system that is treated as an object store."""
    (tmp_path / "store").mkdir()
    remote = Location(fs.SubTreeFileSystem(str(tmp_path / "store"), fs.LocalFileSystem()), "saved")
    for folder in (local(tmp_path / "saved"), remote):
        with filling(folder) as made:
            write_whole(made.inside("part-00000.parquet"), pa.table({"n": [1]}))
        with pytest.raises(InputError):
            half_filled(folder)
        assert read_all(folder) == [1]
        with filling(folder) as made:
            for n in (3, 4):
                write_whole(made.inside(f"part-{n:05d}.parquet"), pa.table({"n": [n]}))
        assert read_all(folder) == [3, 4]


def test_questions_and_answers_may_lie_in_an_object_store(store, bucket: str, tmp_path: Path):
    objects = Objects(bucket)
    for path in sorted((tmp_path / "questions").iterdir()):
        objects.put(f"questions/{path.name}", path.read_bytes())
    job = store.get_historical_features(f"{bucket}/questions", REFS)
    expected = [row for some in in_slices(ASKED_ROWS, 4) for row in expected_of(some)]
    storage = SavedDatasetFileStorage(path=f"{bucket}/saved")
    for overwrite in (False, True):
        job.persist(storage, allow_overwrite=overwrite)
        keys = [each.key for each in objects.below("saved")]
        assert len(keys) == 3
        tables = [pq.read_table(pa.BufferReader(objects.get(key)[0])) for key in keys]
        assert pa.concat_tables(tables).to_pylist() == expected
    store.config.offline_store.staging_location = f"{bucket}/staging"
    paths = store.get_historical_features("questions", REFS).to_remote_storage()
    assert len(paths) == 3
    assert all(path.startswith(f"{bucket}/staging/") for path in paths)
    assert [each.key for each in objects.below("") if ".unfinished" in each.key] == []


def half_filled(folder: Location) -> None:
    with filling(folder) as made:
        write_whole(made.inside("part-00000.parquet"), pa.table({"n": [2]}))
        raise InputError("the second task failed")


def read_all(folder: Location) -> list[int]:
    tables = (pq.read_table(path, filesystem=folder.filesystem) for path in files_in(folder))
    return [n for table in tables for n in table["n"].to_pylist()]
