"""A source in an object store: the same rows as from a folder, by few requests, and no false word
of damage."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import fs

from ingestion.base.columns import INSTANT, Column
from ingestion.base.errors import InputError, StoreFailed
from ingestion.base.objects import Objects
from ingestion.base.parts import content_hash, with_replaced
from ingestion.plugins.offline import object_files
from ingestion.plugins.offline.fetch import FeatureTable
from ingestion.plugins.offline.files import Location, list_files
from ingestion.plugins.offline.object_files import objects_at
from ingestion.plugins.offline.queries import rows_between
from ingestion.plugins.offline.source import ParquetSource
from ingestion.plugins.offline.writing import append, exists, save
from tests.stores.asof_lake import TYPES, write

FIRST = datetime(2021, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)
ALL = (-(1 << 62), 1 << 62)


def rows_of(day: int, symbols: str = "ABC") -> list[dict]:
    event = FIRST + day * DAY
    return [
        {
            "symbol": each,
            "RSI": day + at / 10,
            "event_timestamp": event,
            "created_timestamp": event,
        }
        for at, each in enumerate(symbols)
    ]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests that are made, by what each is about."""
    made: list[str] = []
    ask = Objects._told
    monkeypatch.setattr(
        Objects,
        "_told",
        lambda self, key, request: (made.append(key) if key else None) or ask(self, key, request),
    )
    return made


@pytest.fixture
def both(bucket: str, tmp_path: Path) -> tuple[Location, Location]:
    """A folder of eight dates, and the same in a bucket."""
    objects = Objects(bucket)
    for day in range(8):
        key = f"date={FIRST + day * DAY:%Y-%m-%d}/part-0.parquet"
        objects.put(key, write(tmp_path / "local" / key, rows_of(day)).read_bytes())
    objects.put("_SUCCESS", b"")
    return Location(fs.LocalFileSystem(), str(tmp_path / "local"), True), there(bucket)


def there(uri: str, dated: bool = True) -> Location:
    return Location(*objects_at(uri), dated)


def table(location: Location) -> FeatureTable:
    return FeatureTable(
        source=ParquetSource(location, "event_timestamp"),
        keys=(Column("symbol", pa.string(), True),),
        event=Column("event_timestamp", INSTANT, True),
        created=Column("created_timestamp", INSTANT),
        features=(Column("RSI", TYPES["RSI"]),),
    )


def test_rows_are_those_of_a_folder_and_dates_that_are_not_needed_are_not_fetched(
    both: tuple[Location, Location], asked: list[str]
):
    local, store = both
    assert rows_between(table(store), ALL) == rows_between(table(local), ALL)
    assert len(asked) == 2 + 8  # the listing is looked at twice: there is no further page
    asked.clear()
    span = tuple(int((FIRST + day * DAY).timestamp()) * 1_000_000 for day in (2, 3))
    assert rows_between(table(store), span) == rows_between(table(local), span)
    assert len(asked) == 2  # what was fetched before is kept
    asked.clear()
    assert rows_between(table(Location(*objects_at(store.path), True)), span).num_rows == 6
    assert len(asked) == 2 + 2


def test_a_file_that_was_read_is_not_fetched_again_while_it_is_as_it_was_listed(
    both: tuple[Location, Location], asked: list[str]
):
    source = table(both[1]).source
    pieces = source.pieces(lambda *_: True)
    asked.clear()
    for _ in range(3):
        for piece in pieces:
            source.read(piece, (Column("symbol", pa.string()),))
    assert len(asked) == len(pieces)


def test_a_file_that_is_another_since_it_was_listed_is_not_read(both: tuple[Location, Location]):
    _, store = both
    files = list_files(store, lambda *_: True)
    content = store.filesystem.open_input_file(files[0].path).read()
    with store.filesystem.open_output_stream(files[1].path) as file:
        file.write(content + content)
    source = ParquetSource(store, "event_timestamp")
    piece = next(each for each in source.pieces(lambda *_: True) if each.file.number == 1)
    stale = piece.__class__(files[1], piece.span, None, 0)
    with pytest.raises(FileNotFoundError, match="replaced since it was listed"):
        source.read(stale, (Column("symbol", pa.string()),))


def test_what_a_merged_file_replaces_and_names_that_are_taken_are_left_out(
    bucket: str, tmp_path: Path
):
    objects, date = Objects(bucket), f"date={FIRST:%Y-%m-%d}"
    old = write(tmp_path / "part-0.parquet", rows_of(0))
    objects.put(f"{date}/part-0.parquet", old.read_bytes())
    merged = with_replaced(pa.parquet.read_table(old), {"part-0.parquet": content_hash(old)})
    pa.parquet.write_table(merged, tmp_path / "part-1.parquet")
    objects.put(f"{date}/part-1.parquet", (tmp_path / "part-1.parquet").read_bytes())
    objects.put(f"{date}/part-2.parquet", b"")  # nobody may use this name any more
    (file,) = list_files(there(bucket), lambda *_: True)
    assert file.path == f"{bucket}/{date}/part-1.parquet"
    assert rows_between(table(there(bucket)), ALL).num_rows == 3


def test_rows_are_written_and_read_again(bucket: str):
    place = there(f"{bucket}/saved", dated=True)
    assert not exists(place)
    rows = pa.table({"symbol": ["A", "B"], "event_timestamp": [FIRST, FIRST + DAY]})
    append(place, rows, "event_timestamp")
    append(place, rows, "event_timestamp")
    assert exists(place)
    assert len(list_files(place, lambda *_: True)) == 4
    one = there(f"{bucket}/one.parquet", dated=False)
    save(one, rows)
    save(one, rows.slice(1))
    (file,) = list_files(one, lambda *_: True)
    assert pa.parquet.read_table(file.path, filesystem=one.filesystem).num_rows == 1


def test_a_source_goes_to_another_process(both: tuple[Location, Location]):
    source = pickle.loads(pickle.dumps(table(both[1])))  # noqa: S301
    assert rows_between(source, ALL).num_rows == 24


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    class Fails(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(503)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    monkeypatch.setattr(
        "ingestion.plugins.offline.object_files.LONGEST_RETRY", timedelta(seconds=0.5)
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), Fails) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{http.server_port}")
        http.shutdown()
        thread.join()


def test_a_store_that_fails_is_no_damage_and_no_file_is_to_be_moved(
    both: tuple[Location, Location], request: pytest.FixtureRequest
):
    source = table(both[1]).source
    pieces = source.pieces(lambda *_: True)
    request.getfixturevalue("broken")
    object_files._objects_of.cache_clear()
    for ask in (
        lambda: source.read(pieces[0], (Column("symbol", pa.string()),)),
        lambda: source.pieces(lambda *_: True),
        lambda: rows_between(table(both[1]), ALL),
    ):
        with pytest.raises(StoreFailed, match=r"503.*no file is damaged: run again later") as info:
            ask()
        assert not isinstance(info.value, InputError)
        assert "move" not in str(info.value)
