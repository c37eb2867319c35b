"""A day computed from what was kept equals the same day of a backfill, whatever happens between."""

from __future__ import annotations

import copy
import json
import os
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from ingestion.catalog import OHLCV_1D
from ingestion.jobs.audit.cache_check import CachesChecked, check_caches
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.verify_lakehouse import check_lakehouse
from ingestion.jobs.compute.formula_state import FILE
from ingestion.jobs.compute.local_features import LocalFeaturesResult, backfill, local_features
from ingestion.lakehouse import (
    CacheFile,
    append_part,
    arrow_schema,
    list_parts,
    local_disk,
    read_current,
    read_part,
)
from ingestion.markets.sessions import sessions_between
from ingestion.project import Project
from ingestion.runs.run import new_run_id
from tests.declared import LOCAL_1D
from tests.runs.test_records import QUIET_NS

pytestmark = pytest.mark.usefixtures("no_power_cuts")

EVER = (date(1990, 1, 1), date(2100, 1, 1))
FIRST = date(2023, 1, 2)
COIN = "BINANCE:BTCUSDT"
SYMBOLS = (COIN, "NASDAQ:AAPL", "NASDAQ:MSFT", "NASDAQ:TSLA", "NYSE:JPM", "XX:ODD")
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def folders_are_soon_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """As those of history are, which nobody has touched for seconds."""
    monkeypatch.setattr(local_disk, "_LONG_AGO_NS", QUIET_NS)


class World:
    """A lakehouse, and bars as they are made up day by day."""

    def __init__(self, folder: Path, seed: int, patch: pytest.MonkeyPatch) -> None:
        self.project = replace(Project.from_environment(), lakehouse_at=folder / "lakehouse")
        self.rng = np.random.default_rng(seed)
        self.patch = patch
        self.closes = dict.fromkeys(SYMBOLS, 100.0)
        self.bars: dict[tuple[str, date], dict[str, object]] = {}
        self.now = datetime(2023, 1, 1, tzinfo=UTC)
        self.day = FIRST

    @property
    def root(self) -> Path:
        """The lakehouse's folder."""
        return self.project.lakehouse_at

    def copied(self, folder: Path, patch: pytest.MonkeyPatch) -> World:
        """Return another one that is as this one now."""
        other = copy.copy(self)
        other.project = replace(self.project, lakehouse_at=folder / "lakehouse")
        other.patch, other.rng = patch, copy.deepcopy(self.rng)
        other.closes, other.bars = dict(self.closes), dict(self.bars)
        shutil.copytree(self.root, other.root)
        return other

    def session(self, symbol: str, day: date) -> tuple[int, int] | None:
        """Return when a symbol's bar of a day opens and closes; None if there is none."""
        market = symbol.partition(":")[0]
        if market in ("BINANCE", "XX"):
            opens = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
            return opens, opens + 86_400
        found = sessions_between(market, day, day)
        return (found[0].opens, found[0].closes) if found else None

    def bar(self, symbol: str, day: date, ratio: float = 1.0) -> None:
        """Make up a bar, or another version of it."""
        session = self.session(symbol, day)
        if session is None:
            return
        before = self.closes[symbol] / ratio
        close = before * float(np.exp(self.rng.normal(0, 0.03)))
        open_ = before * float(np.exp(self.rng.normal(0, 0.01)))
        self.closes[symbol] = close
        self.bars[symbol, day] = {
            "timestamp": session[0],
            "symbol": symbol,
            "open": open_,
            "high": max(open_, close) * 1.01,
            "low": min(open_, close) * 0.99,
            "close": close,
            "volume": float(self.rng.integers(0, 1_000)),
            "split_ratio": ratio,
            "event_timestamp": session[1] * 1_000_000,
            "source": "made up",
        }

    def write(self, keys: list[tuple[str, date]], **other: object) -> None:
        """Append some bars as they are now, as a run of its own."""
        self.now += timedelta(minutes=1)
        rows = [self.bars[key] | other for key in keys if key in self.bars]
        by_day: dict[date, list[dict[str, object]]] = {}
        for row in rows:
            event = datetime.fromtimestamp(int(row["event_timestamp"]) // 1_000_000, UTC)  # type: ignore[call-overload]
            by_day.setdefault(event.date(), []).append(row)
        schema, run_id = arrow_schema(OHLCV_1D), new_run_id()
        for _, some in sorted(by_day.items()):
            columns = {
                name: [row.get(name, int(self.now.timestamp() * 1e6)) for row in some]
                for name in schema.names
            }
            arrays = [pa.array(columns[f.name]).cast(f.type) for f in schema]
            append_part(self.project.lakehouse, OHLCV_1D, pa.table(arrays, schema=schema), run_id)

    def without_trade(self, day: date) -> dict[str, object]:
        """Let nothing be traded in the coin's bar of a day; returns that as it would have been."""
        traded = self.bars[COIN, day]
        before = self.closes[COIN] = float(traded["open"])  # type: ignore[arg-type]
        flat = dict.fromkeys(("open", "high", "low", "close"), before) | {"volume": 0.0}
        self.bars[COIN, day] = traded | flat
        return traded

    def next_day(
        self, symbols: list[str], ratios: dict[str, float] | None = None, *, quiet: bool = False
    ) -> None:
        """Make up and write a day's bars of some symbols."""
        for symbol in symbols:
            self.bar(symbol, self.day, (ratios or {}).get(symbol, 1.0))
            if quiet and symbol == COIN:
                self.without_trade(self.day)
        self.write([(symbol, self.day) for symbol in symbols])
        self.day += DAY

    def compute(self) -> LocalFeaturesResult:
        self.now += timedelta(minutes=1)
        self.patch.setenv("TVFEAST_NOW", (self.now + timedelta(days=4000)).isoformat())
        return local_features(self.project)

    def stored(self, project: Project | None = None) -> pa.Table:
        lakehouse = (project or self.project).lakehouse
        rows = read_current(list_parts(lakehouse, LOCAL_1D), LOCAL_1D)
        return rows.drop_columns(["created_timestamp"])

    def check(self, but: int = 0) -> None:
        """Compare the rows with those that a backfill makes of the same bars, but for one close."""
        folder = self.root.with_name("other")
        other = replace(self.project, lakehouse_at=folder)
        shutil.rmtree(folder, ignore_errors=True)
        for name in ("ohlcv_1d", "accepted_holes", "missed_bars"):
            if (self.root / name).is_dir():
                shutil.copytree(self.root / name, folder / name)
        backfill(other, *EVER)
        mine, theirs = self.stored(), self.stored(other)
        mine = mine.filter(pc.not_equal(mine["timestamp"], but))
        for name in mine.column_names:
            a, b = (each[name].combine_chunks() for each in (mine, theirs))
            assert a.equals(b), name
        assert mine.equals(theirs)


@pytest.fixture(scope="module")
def forty_days(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Forty days of five symbols, computed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        return made(tmp_path_factory.mktemp("forty"), patch, days=40)


@pytest.fixture
def world(forty_days: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """The same, to go on with."""
    return forty_days.copied(tmp_path, monkeypatch)


def made(folder: Path, patch: pytest.MonkeyPatch, days: int, seed: int = 0) -> World:
    world = World(folder, seed, patch)
    keys = []
    for _ in range(days):
        for symbol in SYMBOLS[:5]:
            world.bar(symbol, world.day)
            keys.append((symbol, world.day))
        world.day += DAY
    world.write(keys)
    world.compute()
    return world


def test_a_new_day_goes_on_from_what_was_kept(world: World):
    for _ in range(3):
        world.next_day(list(SYMBOLS[:5]))
        result = world.compute()
        assert result.state.recomputed == 0
        assert result.bars == result.rows_written == result.state.continued
    assert result.receipt is not None
    receipt = json.loads(result.receipt.read())
    assert receipt["state"] == {"continued": result.bars, "recomputed": 0, "reasons": {}}
    world.check()
    assert world.compute().dates == 0


def test_a_split_a_young_symbol_and_a_symbol_that_pauses_go_on_too(world: World):
    world.next_day([*SYMBOLS[:4]], {"NASDAQ:AAPL": 4.0})
    assert world.compute().state.recomputed == 0
    world.next_day([*SYMBOLS[:4], "XX:ODD"])
    assert world.compute().state.recomputed == 0
    for _ in range(16):  # until its averages are seeded
        world.next_day([*SYMBOLS], {"BINANCE:BTCUSDT": 0.5})
        assert world.compute().state.recomputed == 0
    world.check()


def restate(world: World) -> str:
    key = ("NASDAQ:TSLA", FIRST + 8 * DAY)
    world.bars[key] = world.bars[key] | {"close": 77.0, "low": 70.0}
    world.write([key])
    return "a bar was restated, withdrawn, or came late"


def withdraw(world: World) -> str:
    world.write([("NASDAQ:TSLA", FIRST + 8 * DAY)], source="withdrawn;wrong")
    return "a bar was restated, withdrawn, or came late"


def come_late(world: World) -> str:
    day = FIRST - 3 * DAY  # a Friday
    world.bar("NASDAQ:TSLA", day)
    world.write([("NASDAQ:TSLA", day)])
    return "there are bars from before its first date"


def test_a_day_without_a_trade_is_no_bar_until_it_turns_out_to_be_one(world: World):
    days = [world.day, world.day + DAY]
    for day in days:
        world.bar(COIN, day)
        traded = world.without_trade(day)
        world.write([(COIN, day)])
        assert world.compute().state.recomputed == 0
        world.check()
    world.day += 2 * DAY
    world.next_day(list(SYMBOLS[:5]))
    assert world.compute().state.recomputed == 0
    world.bars[COIN, days[1]] = traded
    world.write([(COIN, days[1])])
    assert world.compute().state.recomputed == 1
    world.check()


def test_a_bar_that_was_traded_after_all_changes_the_rows_of_days_without_a_trade(world: World):
    traded = []
    for day in (world.day, world.day + DAY):
        world.bar(COIN, day)
        traded.append(world.without_trade(day))
        world.write([(COIN, day)])
        world.compute()
    world.bars[COIN, world.day] = traded[0]
    world.write([(COIN, world.day)])
    assert world.compute().state.recomputed == 1
    world.check()


@pytest.mark.parametrize("happen", [restate, withdraw, come_late])
def test_what_happens_to_an_old_bar_computes_its_symbol_again(world: World, happen):
    reason = happen(world)
    result = world.compute()
    assert list(result.state.reasons) == [reason]
    if happen is not come_late:
        assert result.state.recomputed == 1
        assert result.state.reasons == {reason: 1}
    world.next_day(list(SYMBOLS[:5]))
    assert world.compute().state.recomputed == 0
    world.check()


def test_a_session_that_turns_out_to_be_missing_takes_out_what_it_must(world: World):
    world.day += DAY * ((9 - world.day.weekday()) % 7)  # a Wednesday: two sessions are lost
    for _ in range(4):
        world.next_day(list(SYMBOLS[:5]))
        world.compute()
    assert world.compute().dates == 0
    world.check()


def test_bars_that_fill_a_gap_bring_back_what_was_taken_out(world: World):
    world.day += DAY * ((7 - world.day.weekday()) % 7)  # a Monday
    lost = world.day
    for symbol in SYMBOLS[:5]:
        world.bar(symbol, lost)
    world.day += DAY
    for _ in range(2):
        world.next_day(list(SYMBOLS[:5]))
        world.compute()
    holes = world.stored()
    world.write([(symbol, lost) for symbol in SYMBOLS[:5]])
    assert world.compute().state.recomputed == 5
    assert not world.stored().equals(holes)
    world.next_day(list(SYMBOLS[:5]))
    assert world.compute().state.recomputed == 0
    world.check()


def test_compaction_changes_nothing(world: World):
    world.next_day(list(SYMBOLS[:5]))
    world.write([("NASDAQ:TSLA", FIRST + 8 * DAY)])
    world.compute()
    compact(world.project, date(2024, 1, 1))
    assert world.compute().dates == 0
    world.next_day(list(SYMBOLS[:5]))
    assert world.compute().state.recomputed == 0
    world.check()


def test_verify_computes_some_symbols_anew_and_compares_what_is_kept(world: World):
    assert check_caches(world.project) == CachesChecked(2, 5, 5)
    for ratio in (1.0, 4.0, 1.0):
        world.next_day([*SYMBOLS[:4], "XX:ODD"], {"NASDAQ:AAPL": ratio})
        world.compute()
    assert check_caches(world.project) == CachesChecked(2, 6, 6)
    world.next_day([*SYMBOLS])
    assert check_caches(world.project).unfit == "bars have changed since"
    found = check_lakehouse(world.project, since=world.day).caches
    assert (found.symbols, found.unfit, found.faults) == (0, "", ())
    world.compute()
    compact(world.project, date(2024, 1, 1))
    report = check_lakehouse(world.project)
    assert (report.passed, report.caches.symbols, report.caches.of) == (True, 6, 6)


def test_what_is_kept_wrongly_is_found(world: World):
    """Files that are whole, and are not of these bars."""
    key = ("NASDAQ:TSLA", FIRST + 8 * DAY)
    world.bars[key] = world.bars[key] | {"close": 77.0, "low": 70.0}
    part = next(p for p in list_parts(world.project.lakehouse, OHLCV_1D) if p.date == key[1])
    rows = read_part(part, OHLCV_1D)
    is_it = pc.equal(rows["symbol"], "NASDAQ:TSLA")
    at = rows.column_names.index("close")
    rows = rows.set_column(at, "close", pc.if_else(is_it, 77.0, rows["close"]))
    with pq.ParquetFile(part.path) as file:
        metadata = file.schema_arrow.metadata
    status = part.path.stat()
    pq.write_table(rows.replace_schema_metadata(metadata), part.path)
    os.utime(part.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    faults = dict(check_caches(world.project).faults)
    assert [*faults] == [
        "_caches/ohlcv_1d_by_symbol/2023-01.zip",
        "_caches/formula_state.zip",
    ]
    assert "NASDAQ:TSLA" in faults["_caches/formula_state.zip"]


def remove(file: Path) -> None:
    file.unlink()


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def cut_off(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize("harm", [remove, damage, cut_off])
def test_without_it_everything_is_computed_from_the_bars(world: World, harm):
    file = CacheFile(FILE, world.project.lakehouse)
    harm(file.path)
    damaged = [fault for fault in check_lakehouse(world.project).faults if fault.file == file.key]
    assert bool(damaged) == file.exists()
    world.next_day(list(SYMBOLS[:5]))
    result = world.compute()
    assert result.state.recomputed == 5
    assert result.state.reasons
    world.next_day(list(SYMBOLS[:5]))
    assert world.compute().state.recomputed == 0
    assert not [each for each in check_lakehouse(world.project).faults if each.file == file.key]
    world.check()


@pytest.mark.parametrize("happens", ["withdrawn", "withdrawn without the state", "lost"])
def test_a_bar_that_goes_changes_rows_of_bars_that_opened_later_and_closed_earlier(
    world: World, happens: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(f"{__name__}.new_run_id", lambda: "20200101T000000Z-early")
    for _ in range(4):
        world.next_day(["XX:ODD"])
    for number, (opens, closes) in enumerate([(10, 34), (12, 20)]):  # hours of that day
        key = ("XX:ODD", world.day + number * DAY)
        world.bar(*key)
        start = int(datetime.combine(world.day, datetime.min.time(), UTC).timestamp())
        times = {"timestamp": start + opens * 3600}
        times |= {"event_timestamp": (start + closes * 3600) * 1_000_000}
        world.bars[key] |= times
        world.write([key])
    world.compute()
    before = world.stored()
    monkeypatch.setattr(f"{__name__}.new_run_id", lambda: "20990101T000000Z-late")
    if happens == "lost":
        parts = list_parts(world.project.lakehouse, OHLCV_1D)
        parts[-1].path.unlink()  # it closed last
    else:
        world.write([("XX:ODD", world.day)], source="withdrawn;wrong")
    if happens == "withdrawn without the state":
        CacheFile(FILE, world.project.lakehouse).path.unlink()
    world.compute()
    assert not world.stored().equals(before)
    closed = int(world.bars["XX:ODD", world.day]["event_timestamp"]) // 1_000_000  # type: ignore[call-overload]
    world.check(but=closed if happens == "lost" else 0)  # whose row stays


@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(st.data())
def test_whatever_happens_the_rows_are_those_of_a_backfill(data: st.DataObject):
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        patch.setattr("os.fsync", lambda _: None)
        days = data.draw(st.integers(1, 60), "days of history")
        world = made(Path(folder), patch, days, data.draw(st.integers(0, 1_000), "seed"))
        for _ in range(data.draw(st.integers(1, 4), "runs")):
            for _ in range(data.draw(st.integers(0, 3), "days")):
                there = data.draw(st.lists(st.sampled_from(SYMBOLS), unique=True), "symbols")
                ratios = st.dictionaries(st.sampled_from(SYMBOLS), st.sampled_from([0.5, 3.0]))
                quiet = data.draw(st.booleans(), "without a trade")
                world.next_day(there, data.draw(ratios, "splits"), quiet=quiet)
            known = sorted(world.bars)
            for key in data.draw(st.lists(st.sampled_from(known), max_size=2), "again"):
                factor = data.draw(st.floats(0.9, 1.1), "factor")
                prices = ("open", "high", "low", "close")
                old = world.bars[key]
                world.bars[key] = old | {name: float(old[name]) * factor for name in prices}  # type: ignore[arg-type]
                gone = data.draw(st.booleans(), "withdrawn")
                world.write([key], **({"source": "withdrawn;wrong"} if gone else {}))
            if data.draw(st.integers(0, 5), "chance") == 0:
                CacheFile(FILE, world.project.lakehouse).path.unlink(missing_ok=True)
            world.compute()
        world.check()
