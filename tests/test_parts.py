"""Files that name the ones that they replace."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from ingestion.base import parts
from ingestion.base.parts import REPLACES, content_hash, names_in, replaced_in, with_replaced


def write(path: Path, value: int, **replaced: str) -> str:
    table = pa.table({"x": [value]})
    named = {f"{name}.parquet": sha256 for name, sha256 in replaced.items()}
    pq.write_table(with_replaced(table, named) if named else table, path)
    return content_hash(path)


def left_out(folder: Path) -> list[str]:
    return sorted(replaced_in(str(folder), names_in(folder)))


def test_files_that_are_just_files_are_all_there(tmp_path: Path):
    for number in range(3):
        write(tmp_path / f"part-{number}.parquet", number)
    (tmp_path / "part-3.parquet").write_bytes(b"no Parquet")
    (tmp_path / "part-4.parquet").touch()
    (tmp_path / "notes.txt").write_text(REPLACES)
    assert left_out(tmp_path) == []


def test_what_a_file_replaces_is_left_out_for_as_long_as_that_file_is_there(tmp_path: Path):
    old, other = write(tmp_path / "old.parquet", 0), write(tmp_path / "part-0.parquet", 1)
    new = tmp_path / "part-1.parquet"
    write(new, 2, **{"old": old, "part-0": other})
    write(tmp_path / "part-2.parquet", 3)
    assert left_out(tmp_path) == ["old.parquet", "part-0.parquet"]
    new.unlink()
    assert left_out(tmp_path) == []


def test_a_file_that_a_replaced_one_replaces_is_left_out_too(tmp_path: Path):
    """As a copy of the folder that keeps what was removed has them."""
    first = write(tmp_path / "part-0.parquet", 0)
    second = write(tmp_path / "part-1.parquet", 1, **{"part-0": first})
    write(tmp_path / "part-2.parquet", 2, **{"part-1": second})
    assert left_out(tmp_path) == ["part-0.parquet", "part-1.parquet"]


def test_another_file_that_got_the_name_later_is_not_left_out(tmp_path: Path):
    old = write(tmp_path / "part-0.parquet", 0)
    write(tmp_path / "part-1.parquet", 1, **{"part-0": old})
    assert left_out(tmp_path) == ["part-0.parquet"]
    (tmp_path / "part-0.parquet").unlink()
    write(tmp_path / "part-0.parquet", 7)
    assert left_out(tmp_path) == []


def test_a_file_replaces_no_later_one_and_not_itself(tmp_path: Path):
    late = write(tmp_path / "part-9.parquet", 9)
    write(tmp_path / "part-1.parquet", 1, **{"part-9": late, "part-1": late})
    assert left_out(tmp_path) == []


@pytest.mark.parametrize("told", ["[]", "[1]", "nonsense", "null", '{"part-0.parquet": 1}'])
def test_metadata_that_say_something_else_replace_nothing(tmp_path: Path, told: str):
    write(tmp_path / "part-0.parquet", 0)
    table = pa.table({"x": [1]}).replace_schema_metadata({REPLACES: told})
    pq.write_table(table, tmp_path / "part-1.parquet")
    assert left_out(tmp_path) == []


def test_a_long_footer_is_read_whole(tmp_path: Path):
    old = write(tmp_path / "part-0.parquet", 0)
    columns = {f"column_{number}": [number] for number in range(300)}
    table = with_replaced(pa.table(columns), {"part-0.parquet": old, "z" * 100_000: old})
    pq.write_table(table, tmp_path / "part-1.parquet")
    assert left_out(tmp_path) == ["part-0.parquet"]


def test_each_file_is_looked_into_once_and_one_alone_never(tmp_path: Path, monkeypatch):
    looks: list[str] = []
    told = parts._told

    def look(file: pa.NativeFile) -> object:
        looks.append("look")
        return told(file)

    monkeypatch.setattr(parts, "_told", look)
    write(tmp_path / "part-5.parquet", 5)
    assert left_out(tmp_path) == []
    assert looks == []
    write(tmp_path / "part-6.parquet", 6)
    for _ in range(3):
        assert left_out(tmp_path) == []
    assert len(looks) == 2
    write(tmp_path / "part-6.parquet", 6, **{"part-5": content_hash(tmp_path / "part-5.parquet")})
    assert left_out(tmp_path) == ["part-5.parquet"]


def test_files_of_another_file_system_are_left_out_too(tmp_path: Path):
    old = write(tmp_path / "part-0.parquet", 0)
    write(tmp_path / "part-1.parquet", 1, **{"part-0": old})
    elsewhere = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    names = ["part-0.parquet", "part-1.parquet", "part-2.parquet"]  # the last one is gone
    assert replaced_in("", names, elsewhere.open_input_file) == {"part-0.parquet"}


def test_the_metadata_are_one_json_object(tmp_path: Path):
    table = pa.table({"x": [1]}).replace_schema_metadata({"mine": "kept"})
    metadata = with_replaced(table, {"part-0.parquet": "abc"}).schema.metadata
    assert json.loads(metadata[REPLACES.encode()]) == {"part-0.parquet": "abc"}
    assert metadata[b"mine"] == b"kept"
