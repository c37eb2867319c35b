"""A lakehouse goes to an object store and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from click.testing import CliRunner

from ingestion.base.errors import GateRefused, InputError, LakehouseLocked
from ingestion.base.settings import StoreUrl
from ingestion.cli.commands import cli
from ingestion.jobs.copy_lakehouse import copy
from ingestion.lakehouse import (
    Lakehouse,
    append_part,
    files_of_run,
    lakehouse_lock,
    list_parts,
    open_lakehouse,
    read_file,
    run_ids,
    write_run_file,
)
from ingestion.lakehouse.compact import merge_parts
from ingestion.lakehouse.inspect import foreign_files, inspect_part
from ingestion.lakehouse.ledger import Ledger
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import EVENING, technicals

DAY = timedelta(days=1)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    """Five evenings, of one of which the parts were merged."""
    place = tmp_path / "here"
    lakehouse = open_lakehouse(place)
    for number in range(6):
        run, at = f"run-{number}", EVENING + min(number, 4) * DAY
        with lakehouse_lock(lakehouse, run):
            append_part(lakehouse, GROUP, technicals(["A:A", "B:B"], at, RSI=[number, 50]), run)
            write_run_file(lakehouse, run, "receipt.json", b"{}")
    with lakehouse_lock(lakehouse, "run-6"):
        merge_parts(lakehouse, GROUP, at.date(), Ledger.read(lakehouse), "run-6")
    (place / "_caches").mkdir()
    (place / "_caches" / "made-again.zip").touch()
    return place


def sums(lakehouse: Lakehouse) -> dict[str, object]:
    """Return the sum of each column, of texts that of their lengths, and how many are null."""
    rows = pa.concat_tables([read_file(part) for part in list_parts(lakehouse, GROUP)])
    return {
        name: (
            pc.sum(pc.utf8_length(rows[name]) if _is_text(rows, name) else _number(rows[name])),
            rows[name].null_count,
        )
        for name in rows.column_names
    }


def _is_text(rows: pa.Table, name: str) -> bool:
    return pa.types.is_string(rows.schema.field(name).type)


def _number(values: pa.ChunkedArray) -> pa.ChunkedArray:
    return values.cast(pa.int64()) if pa.types.is_temporal(values.type) else values


def contents(lakehouse: Lakehouse) -> dict[str, bytes]:
    found = {}
    for key in lakehouse.files():
        if key.partition("/")[0] not in ("_lock", "_clock", "_tmp", "_caches"):
            with lakehouse.open(key) as file:
                found[key] = file.read()
    return found


def test_there_and_back_every_file_is_the_same(local: Path, bucket: str, tmp_path: Path):
    here, there = open_lakehouse(local), open_lakehouse(StoreUrl(bucket))
    done = copy(str(local), bucket)
    assert contents(there) == contents(here)
    assert (done.files, done.copied) == (len(contents(here)),) * 2
    assert sums(there) == sums(here)
    assert not any(key.startswith("_caches") for key in there.files())
    back = tmp_path / "back"
    assert copy(bucket, str(back)).copied == done.copied
    again = open_lakehouse(back)
    assert contents(again) == contents(here)
    for place in (there, again):
        ledger = Ledger.read(place)
        parts = list_parts(place, GROUP)
        assert len(parts) == 5
        assert all(not inspect_part(place, GROUP, part, ledger).faults for part in parts)
        assert list(foreign_files(place, [GROUP], run_ids(place))) == []
        with lakehouse_lock(place, "run-7"):
            append_part(place, GROUP, technicals(["C:C"], EVENING), "run-7")


@pytest.mark.parametrize("to_store", [True, False])
def test_a_copy_that_was_killed_goes_on_and_copies_the_rest(
    local: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, to_store: bool
):
    source, target = str(local), bucket
    if not to_store:
        copy(source, target)
        source, target = bucket, str(tmp_path / "back")

    class Killed(BaseException):
        """The process is gone."""

    place = type(open_lakehouse(StoreUrl(target) if to_store else Path(target)))
    create: Callable[..., list[str]] = place.create

    def killed(self: Lakehouse, files: dict[str, Path]) -> list[str]:
        create(self, dict([*files.items()][:3]))
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(place, "create", killed)
        with pytest.raises(Killed):
            copy(source, target)
    done = copy(source, target)
    assert (done.files - done.copied) == 3
    assert copy(source, target).copied == 0
    lakehouse = open_lakehouse(StoreUrl(target) if to_store else Path(target))
    assert contents(lakehouse) == contents(open_lakehouse(local))


def test_what_was_written_to_the_source_since_follows(local: Path, bucket: str):
    copy(str(local), bucket)
    here = open_lakehouse(local)
    with lakehouse_lock(here, "run-0"):
        append_part(here, GROUP, technicals(["C:C"], EVENING), "run-0")  # its ledger is another
    assert copy(str(local), bucket).copied == 2
    there = open_lakehouse(StoreUrl(bucket))
    assert contents(there) == contents(here)
    assert [file.name for file in files_of_run(there, "run-0")] == ["files.jsonl", "receipt.json"]


def test_another_lakehouse_is_left_alone(local: Path, bucket: str):
    there = open_lakehouse(StoreUrl(bucket))
    with lakehouse_lock(there, "theirs"):
        append_part(there, GROUP, technicals(["Z:Z"], EVENING), "theirs")
    before = contents(there)
    with pytest.raises(GateRefused, match=r"that .* lacks.*nothing was copied"):
        copy(str(local), bucket)
    assert contents(there) == before


def test_other_content_under_a_parts_name_is_left_alone(local: Path, bucket: str):
    copy(str(local), bucket)
    there = open_lakehouse(StoreUrl(bucket))
    part = list_parts(there, GROUP)[0].key
    there.put(part, b"other")
    with pytest.raises(GateRefused, match="has other content than"):
        copy(str(local), bucket)
    assert contents(there)[part] == b"other"


def test_nobody_may_write_meanwhile(local: Path, bucket: str):
    for place in (open_lakehouse(local), open_lakehouse(StoreUrl(bucket))):
        with lakehouse_lock(place, "writer"), pytest.raises(LakehouseLocked, match="writer"):
            copy(str(local), bucket)


@pytest.mark.parametrize("target", ["{}", "{}/below", "s3a://lake/x"])
def test_no_place_is_in_the_other(local: Path, target: str):
    with pytest.raises(InputError):
        copy(str(local), target.format(local))


def test_there_must_be_something_to_copy(bucket: str, tmp_path: Path):
    with pytest.raises(InputError, match="no lakehouse to copy"):
        copy(bucket, str(tmp_path / "out"))


def test_the_command_says_what_was_copied(local: Path, bucket: str):
    done = CliRunner().invoke(cli, ["copy", str(local), bucket])
    assert done.exit_code == 0
    assert "files were copied" in done.stdout
    done = CliRunner().invoke(cli, ["copy", str(local), bucket, "--json"])
    assert json.loads(done.stdout)["copied"] == 0
