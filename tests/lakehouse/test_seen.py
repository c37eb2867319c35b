"""What a look finds does not depend on what was seen before."""

from __future__ import annotations

import json
import os
import shutil
import time
from contextlib import suppress
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestion.base.errors import CorruptPart
from ingestion.lakehouse import LocalDisk, Part, SeenParts, append_part, list_parts, local_disk
from ingestion.lakehouse.compact import merge_parts
from ingestion.lakehouse.ledger import Ledger
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import EVENING, technicals
from tests.runs.test_records import QUIET_NS

DAYS = [EVENING + timedelta(day) for day in range(3)]


class Lake:
    """Three dates of parts, and what happens to them."""

    def __init__(self, root: Path) -> None:
        self.disk, self.runs = LocalDisk(root), 0
        for day in DAYS:
            self.append(day.date())

    def append(self, day: date) -> None:
        """Add a part, as a run of its own."""
        self.runs += 1
        rows = technicals(["A:A"], EVENING + (day - EVENING.date()))
        append_part(self.disk, GROUP, rows, f"run-{self.runs}")

    def parts(self, day: date) -> list[Part]:
        return [part for part in list_parts(self.disk, GROUP) if part.date == day]

    def merge(self, day: date) -> None:
        self.runs += 1
        if len(self.parts(day)) > 1:
            with suppress(CorruptPart):  # one that was overwritten
                merge_parts(self.disk, GROUP, day, Ledger.read(self.disk), f"run-{self.runs}")

    def lose(self, day: date) -> None:
        for part in self.parts(day)[:1]:
            part.path.unlink()

    def lose_all(self, day: date) -> None:
        shutil.rmtree(self.disk.root / GROUP.storage / f"date={day}", ignore_errors=True)

    def overwrite(self, day: date) -> None:
        """Another program puts another file in the place of one, whose names stay."""
        others = [part for part in list_parts(self.disk, GROUP) if part.date != day]
        for mine, other in zip(self.parts(day)[:1], others[-1:], strict=False):
            content = other.path.read_bytes()
            mine.path.write_bytes(content)
            os.utime(mine.path, ns=(0, self.runs))

    def exchange(self, day: date) -> None:
        """The folder is another one, as after it was put back from a backup."""
        folder = self.disk.root / GROUP.storage / f"date={day}"
        if folder.is_dir():
            shutil.copytree(folder, self.disk.root / "copy")
            shutil.rmtree(folder)
            (self.disk.root / "copy").rename(folder)

    def look(self, before: SeenParts | None = None) -> SeenParts:
        time.sleep(2 * QUIET_NS / 1e9)
        return SeenParts.look(self.disk, GROUP, before)


def told(seen: SeenParts) -> object:
    """Return what it says, but for when folders have changed."""
    document = json.loads(json.dumps(seen.document()))
    return {key: files for key, (_, files) in document.items()}


HAPPENS = [Lake.append, Lake.merge, Lake.lose, Lake.lose_all, Lake.overwrite, Lake.exchange]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(HAPPENS), st.sampled_from(DAYS)), max_size=3),
        min_size=1,
        max_size=4,
    )
)
def test_a_look_finds_what_one_that_knows_nothing_finds(rounds):
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_disk, "_LONG_AGO_NS", QUIET_NS)
        patch.setattr("os.fsync", lambda _: None)
        lake = Lake(Path(folder))
        before = lake.look()
        for happens in rounds:
            for what, day in happens:
                what(lake, day.date())
            now, anew = lake.look(before), lake.look()
            assert told(now) == told(anew)
            assert now.parts == anew.parts == list_parts(lake.disk, GROUP)
            assert now.new_since(before) == anew.new_since(before)
            assert now.gone_since(before) == anew.gone_since(before)
            before = SeenParts.of_document(json.loads(json.dumps(now.document())))


def test_of_dates_that_are_as_they_were_no_folder_is_listed_and_no_footer_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(local_disk, "_LONG_AGO_NS", QUIET_NS)
    lake = Lake(tmp_path)
    before = lake.look()
    lake.append(DAYS[1].date())
    touched: list[str] = []
    for verb in ("folder", "open"):
        own = getattr(LocalDisk, verb)
        noted = lambda disk, key, own=own: touched.append(key) or own(disk, key)  # noqa: E731
        monkeypatch.setattr(LocalDisk, verb, noted)
    seen = lake.look(before)
    (part,) = seen.new_since(before)
    folder = part.key.rpartition("/")[0]
    assert folder.endswith(f"date={DAYS[1].date()}")
    assert set(touched) == {folder, part.key}
    touched.clear()
    assert seen.rows(part) == 1
    assert touched == []  # its footer was read for the look
    assert [seen.rows(each) for each in seen.parts] == [1] * 4


def test_a_run_knows_its_own_parts_without_a_look(tmp_path: Path):
    lake = Lake(tmp_path)
    before = lake.look()
    rows = technicals(["B:B"], DAYS[2])
    part = append_part(lake.disk, GROUP, rows, "run-own")
    own = before.with_own([part], "run-own")
    now = lake.look()
    assert told(own) == told(now)
    assert own.origins == now.origins
