"""From when until when a symbol has rows: whatever happens, no row is outside of what is said."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ingestion.lakehouse import CacheFile, LocalDisk, append_part, list_parts
from ingestion.lakehouse.compact import merge_parts
from ingestion.lakehouse.ledger import Ledger
from ingestion.lakehouse.symbol_spans import span_of
from tests.declared import TV_TECHNICALS_1D as GROUP
from tests.lakehouse.technicals import EVENING, technicals

SYMBOLS = ("A:A", "A:B", "B:A", "B:B")


class Lake:
    """A lakehouse, and the dates of each symbol by a way of its own."""

    def __init__(self, root: Path) -> None:
        self.disk, self._written = LocalDisk(root), 0

    def write(self, day: int, symbols: list[str]) -> None:
        """Append rows of a day."""
        self._written += 1
        event = EVENING + timedelta(days=day)
        rows = technicals(sorted(symbols), event, event + timedelta(seconds=self._written))
        append_part(self.disk, GROUP, rows, f"20260101T000000Z-{self._written}")

    def dates(self, symbol: str) -> list[date]:
        """Return the dates on which a symbol has rows, as the files say them."""
        files = self.disk.root.rglob("date=*/*.parquet")
        found = {
            date.fromisoformat(file.parent.name.removeprefix("date="))
            for file in files
            if symbol in pq.ParquetFile(file).read(["symbol"])["symbol"].to_pylist()
        }
        return sorted(found)

    def check(self, *, exact: bool) -> None:
        """Compare what is said with the files."""
        for symbol in (*SYMBOLS, "X:ABSENT"):
            dates, span = self.dates(symbol), span_of(self.disk, GROUP, symbol)
            if exact:
                assert span == ((dates[0], dates[-1]) if dates else None)
            elif dates:
                assert span is not None
                assert span.first <= dates[0] <= dates[-1] <= span.last


@settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.data())
def test_no_row_is_outside_of_what_is_said(data: st.DataObject) -> None:
    days = st.integers(0, 9)
    some = st.lists(st.sampled_from(SYMBOLS), unique=True, min_size=1)
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr("os.fsync", lambda _: None)
        lake, exact = Lake(Path(folder)), True
        for _ in range(data.draw(st.integers(1, 4), "rounds")):
            for day in data.draw(st.lists(days, min_size=1, max_size=4), "days"):
                lake.write(day, data.draw(some, "symbols"))
            lake.check(exact=exact)
            parts = list_parts(lake.disk, GROUP)
            one = data.draw(st.sampled_from(parts), "part")
            what = data.draw(st.sampled_from(["merge", "lose", "cut", "delete", ""]), "then")
            cache = lake.disk.root / "_caches" / f"symbol_spans.{GROUP.name}.zip"
            if what == "merge" and sum(part.date == one.date for part in parts) > 1:
                ledger = Ledger.read(lake.disk)
                merge_parts(lake.disk, GROUP, one.date, ledger, "20260102T000000Z-m")
            elif what == "lose":
                one.path.unlink()
                exact = False
            elif what == "cut":
                cache.write_bytes(cache.read_bytes()[:-70])
                exact = True
            elif what == "delete":
                shutil.rmtree(cache.parent)
                exact = True
            lake.check(exact=exact)


def test_a_damaged_cache_is_made_anew_and_parts_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda _: None)
    lake = Lake(tmp_path)
    for day in range(4):
        lake.write(day, [*SYMBOLS])
    lake.check(exact=True)
    cache = tmp_path / "_caches" / f"symbol_spans.{GROUP.name}.zip"
    content = bytearray(cache.read_bytes())
    content[content.index(b"days") + 30] ^= 1
    cache.write_bytes(content)
    assert CacheFile(cache.name, lake.disk).damage()
    lake.check(exact=True)
    assert not CacheFile(cache.name, lake.disk).damage()
    opened: list[str] = []
    whole = LocalDisk.open
    monkeypatch.setattr(
        LocalDisk, "open", lambda disk, key: (opened.append(key), whole(disk, key))[1]
    )
    lake.write(9, ["A:A"])
    opened.clear()
    span_of(lake.disk, GROUP, "B:B")
    assert {key.split("/")[-2] for key in opened if "date=" in key} == {
        f"date={(EVENING + timedelta(days=9)).date()}"
    }
