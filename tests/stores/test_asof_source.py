from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from ingestion.base.columns import Column
from ingestion.base.errors import CorruptPart, InputError
from ingestion.base.instants import to_micros
from ingestion.plugins.offline import files
from ingestion.plugins.offline.files import list_files
from ingestion.plugins.offline.queries import rows_between
from tests.stores.asof_lake import TYPES, feature_table, source, write

MONDAY = datetime(2021, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ROW = {"symbol": "A", "RSI": 1.0, "event_timestamp": MONDAY, "created_timestamp": MONDAY}
ALWAYS = (to_micros(MONDAY - 999 * DAY), to_micros(MONDAY + 999 * DAY))


def everything(*_: int) -> bool:
    return True


def listed(root: Path, path: str = "", *, dated: bool = False, needs=everything) -> list[str]:
    location = source(f"{root}/{path}", dated=dated)._location
    return [str(Path(file.path).relative_to(root)) for file in list_files(location, needs)]


FILES = (
    "a.parquet",
    "b.pq",
    "c",
    "notes.txt",
    ".hidden.parquet",
    "_SUCCESS",
    "_tmp/d.parquet",
    "part-2.parquet",
    "part-10.parquet",
    "x/date=2021-04-12/part-0.parquet",
    "x/date=2021-04-13/part-0.parquet",
    "x/date=2021-04-13/hour=3/part-0.parquet",
    "x/date=2021-02-31/part-0.parquet",
    "__log_date=2021-04-12/part-0.parquet",
    "x/other/part-0.parquet",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_a_folder_is_its_visible_files_numbers_in_their_order(tree: Path):
    assert listed(tree) == [
        "__log_date=2021-04-12/part-0.parquet",
        "a.parquet",
        "b.pq",
        "c",
        "part-2.parquet",
        "part-10.parquet",
        "x/date=2021-02-31/part-0.parquet",
        "x/date=2021-04-12/part-0.parquet",
        "x/date=2021-04-13/hour=3/part-0.parquet",
        "x/date=2021-04-13/part-0.parquet",
        "x/other/part-0.parquet",
    ]
    assert listed(tree, "notes.txt") == ["notes.txt"]
    assert listed(tree, "nothing") == []


@pytest.mark.parametrize(
    ("glob", "found"),
    [
        ("*.parquet", ["a.parquet", "part-2.parquet", "part-10.parquet"]),
        ("part-?.parquet", ["part-2.parquet"]),
        ("part-[!2]*.parquet", ["part-10.parquet"]),
        ("[ab].p*", ["a.parquet", "b.pq"]),
        ("x/date=2021-04-*/*.parquet", [FILES[9], FILES[10]]),
        ("x/date=2021-04-*", [FILES[9], FILES[11], FILES[10]]),
        ("**/hour=3/*", [FILES[11]]),
        ("**/a.parquet", ["a.parquet"]),
        ("y/*", []),
    ],
)
def test_a_glob_is_the_files_and_folders_that_match(tree: Path, glob, found):
    assert listed(tree, glob) == found


def test_a_name_with_a_globs_letters_is_itself_where_it_exists(tree: Path):
    (tree / "[ab].parquet").touch()
    assert listed(tree, "[ab].parquet") == ["[ab].parquet"]


def test_partition_dates_are_believed_of_a_tagged_source_alone(tree: Path):
    def on_monday(first: int, last: int) -> bool:
        return first <= to_micros(MONDAY) <= last

    others = ["x/date=2021-02-31/part-0.parquet", "x/other/part-0.parquet"]
    monday = "x/date=2021-04-12/part-0.parquet"
    # What has no date is read: nobody promised anything about it.
    assert listed(tree, "x", dated=True, needs=on_monday) == [others[0], monday, others[1]]
    assert len(listed(tree, "x", needs=on_monday)) == 5
    spans = {file.span for file in list_files(source(tree / "x", dated=True)._location, everything)}
    first = to_micros(MONDAY)
    day = to_micros(DAY)
    assert spans == {None, (first, first + day - 1), (first + day, first + 2 * day - 1)}


def test_dates_that_are_not_needed_are_not_looked_at(tree: Path):
    (tree / "x/date=2021-04-14").symlink_to("nowhere")
    early = listed(tree, "x", dated=True, needs=lambda first, _: first <= to_micros(MONDAY))
    assert "x/date=2021-04-12/part-0.parquet" in early
    with pytest.raises(CorruptPart, match="links nowhere"):
        listed(tree, "x", dated=True)


def test_row_groups_out_of_time_are_not_read(tmp_path: Path):
    rows = [ROW | {"event_timestamp": MONDAY + day * DAY, "RSI": float(day)} for day in range(10)]
    path = write(tmp_path / "a.parquet", rows, row_group_size=2)
    pieces = source(path).pieces(lambda first, _: first >= to_micros(MONDAY + 5 * DAY))
    assert [(piece.row_group, piece.first_row) for piece in pieces] == [(4, 8), (3, 6)]
    nothing_known = write(tmp_path / "b.parquet", rows, row_group_size=2, write_statistics=False)
    assert len(source(nothing_known).pieces(lambda first, _: first < 0)) == 5


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "America/New_York"])
def test_statistics_are_read_in_every_unit_and_zone(tmp_path: Path, unit, zone):
    kind = pa.timestamp(unit, tz=zone)
    given = MONDAY if zone else MONDAY.replace(tzinfo=None)
    path = write(tmp_path / "a.parquet", [{"event_timestamp": given}], {"event_timestamp": kind})
    (piece,) = source(path).pieces(everything)
    assert piece.span == (to_micros(MONDAY), to_micros(MONDAY))


def test_a_folders_name_is_a_column_only_where_the_file_lacks_it(tmp_path: Path):
    types = {name: kind for name, kind in TYPES.items() if name != "symbol"}
    write(tmp_path / "symbol=A%2FB" / "RSI=7" / "a.parquet", [ROW], types)
    write(tmp_path / "symbol=__HIVE_DEFAULT_PARTITION__" / "b.parquet", [ROW], types)
    write(tmp_path / "symbol=Z" / "c.parquet", [ROW])
    rows = rows_between(feature_table(tmp_path), ALWAYS)
    assert rows["symbol"].to_pylist() == ["A/B", "A", None]
    assert rows["RSI"].to_pylist() == [1.0, 1.0, 1.0]
    assert source(tmp_path).schema().names == [*types, "symbol"]


def test_files_of_other_types_are_read_in_one_that_holds_them_all(tmp_path: Path):
    """Without a declaration, as for materialization and saved datasets."""
    for number, kind in enumerate((pa.int64(), pa.null(), pa.float64())):
        value = None if kind == pa.null() else number
        write(tmp_path / f"{number}.parquet", [ROW | {"RSI": value}], TYPES | {"RSI": kind})
    table = feature_table(tmp_path)
    undeclared = type(table)(
        table.source, table.keys, table.event, table.created, (Column("RSI", None),)
    )
    rows = rows_between(undeclared, ALWAYS)
    assert rows["RSI"].to_pylist() == [0.0, None, 2.0]
    assert rows["RSI"].type == source(tmp_path).schema().field("RSI").type == pa.float64()
    write(tmp_path / "3.parquet", [ROW | {"RSI": "x"}], TYPES | {"RSI": pa.string()})
    for read in (lambda: rows_between(undeclared, ALWAYS), source(tmp_path).schema):
        with pytest.raises(CorruptPart, match="do not agree"):
            read()


@pytest.mark.parametrize("column", ["symbol", "event_timestamp"])
def test_a_file_without_key_or_event_is_an_error_unless_it_is_empty(tmp_path: Path, column):
    types = {name: kind for name, kind in TYPES.items() if name != column}
    write(tmp_path / "a.parquet", [], types)
    assert rows_between(feature_table(tmp_path), ALWAYS).num_rows == 0
    write(tmp_path / "b.parquet", [ROW], types)
    with pytest.raises(CorruptPart, match=f"b.parquet has no column {column}"):
        rows_between(feature_table(tmp_path), ALWAYS)


def test_integers_lose_nothing_and_floats_take_any(tmp_path: Path):
    big = 2**60 + 1
    path = write(tmp_path / "a.parquet", [ROW | {"RSI": big}], TYPES | {"RSI": pa.int64()})
    assert rows_between(feature_table(path), ALWAYS)["RSI"].to_pylist() == [float(big)]
    write(path, [ROW | {"RSI": 3.5}])
    table = feature_table(path)
    declared = type(table)(
        table.source, table.keys, table.event, table.created, (Column("RSI", pa.int64()),)
    )
    with pytest.raises(InputError, match=r"column RSI is double and cannot be read as int64"):
        rows_between(declared, ALWAYS)


def test_a_link_to_nowhere_is_told_if_it_could_be_data(tmp_path: Path):
    write(tmp_path / "part-0.parquet", [ROW])
    (tmp_path / "README.txt").symlink_to("nowhere")
    assert rows_between(feature_table(tmp_path), ALWAYS).num_rows == 1
    (tmp_path / "part-1.parquet").symlink_to("nowhere")
    with pytest.raises(CorruptPart, match=r"part-1\.parquet links nowhere: remove it"):
        rows_between(feature_table(tmp_path), ALWAYS)


def test_a_file_that_is_removed_while_its_folder_is_listed_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The reader lists again: half of the files is no answer."""
    write(tmp_path / "part-0.parquet", [ROW])
    monkeypatch.setattr(files, "names_in", lambda _: ["part-0.parquet", "part-1.parquet"])
    with pytest.raises(FileNotFoundError, match="gone since its folder was listed"):
        listed(tmp_path)
