"""A small project in several states, to be put back into one of them as often as a test likes.

It stays in one folder: Feast's registry keeps absolute paths.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ingestion.catalog import (
    ABSENCES,
    ABSENT_BARS,
    ACCEPTED_HOLES,
    DIVIDENDS,
    FEEDS,
    HELD_BARS,
    MISSED_BARS,
    OHLCV_1D,
    OTHER_BARS,
    SPLITS,
    UNIVERSE_MEMBERS,
)
from ingestion.jobs.compute.formula_state import FILE
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import (
    CacheFile,
    append_part,
    arrow_schema,
    created_at,
    list_parts,
    read_current,
    read_file,
)
from ingestion.project import Project
from ingestion.replay import ReplayScanner
from tests.conftest import MONDAY, SAMPLE
from tests.declared import DATASETS
from tests.processes import Command, Ended, Forge, Running, project_of

SYMBOLS = [
    *("BINANCE:BTCUSDT", "NASDAQ:AAL", "NASDAQ:AAPL", "NASDAQ:ADBE", "NASDAQ:AMZN"),
    *("NASDAQ:COST", "NASDAQ:CSCO", "NASDAQ:FB"),
]
HISTORY = timedelta(days=14)
"""So long that a month is over."""
TUESDAY, WEDNESDAY, THURSDAY = (MONDAY + timedelta(days=day) for day in (1, 2, 3))
QUICKLY = ("--backoff", "0.01", "--read-timeout", "10", "--retries", "2")
Content = dict[str, list[dict[str, object]]]


@dataclass(frozen=True)
class State:
    """What the project holds, and when that is."""

    name: str
    now: datetime


BARS = State("bars", MONDAY)
"""Imported bars alone."""
SERVED = State("served", WEDNESDAY)
"""Tuesday's rows in the online store, and Wednesday's neither there nor in the lakehouse."""
FURTHER = State("further", WEDNESDAY)
"""Wednesday's bars too, whose features are not computed: they go on from Tuesday's."""
STALE = State("stale", WEDNESDAY)
"""The same, and what was kept on Tuesday is damaged."""
RESTATED = State("restated", WEDNESDAY)
"""Wednesday's bars, and another version of an old one."""
NEWS = State("news", WEDNESDAY)
"""Wednesday's rows in the lakehouse too, and not in the online store."""
ALL_KINDS = State("all-kinds", THURSDAY)
"""The same on the evening after, with parts of every dataset and receipts of every job."""


class World:
    """The project, its processes and its scanner.

    Parameters
    ----------
    folder
        Holds the project, the states and what the processes print.
    """

    def __init__(self, folder: Path, scanner: ReplayScanner, forge: Forge) -> None:
        self.scanner = scanner
        scanner.now = lambda: self.at
        self._folder, self._forge = folder, forge
        project = make_workspace(folder / "project")
        self.data = project / "data"
        self.settings = Project(project, self.data / "lakehouse", scanner.url)
        self.candidates = folder / "candidates.json"
        self.candidates.write_text(json.dumps(SYMBOLS))
        self.scan = ("--candidates", self.candidates, *QUICKLY)
        labels = folder / "labels.csv"
        labels.write_text("symbol,event_timestamp,target\nNASDAQ:AAPL,2021-04-14T21:30:00Z,0.1\n")
        self.train = ("training-set", "--out", folder / "training_set.parquet")
        self.train_on_labels = (*self.train, "--labels", labels)
        self.restated = folder / "restated.parquet"
        """The same bars, each dearer by a few percent, so that all returns differ."""
        self.at = MONDAY
        self._make_states()

    def restore(self, state: State) -> None:
        """Put the project into a state, and the clock to its time."""
        self.at = state.now
        for path in self.data.iterdir():  # the folder itself may be a disk
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        shutil.copytree(self._folder / state.name, self.data, dirs_exist_ok=True)

    def start(
        self,
        *words: object,
        arrange: Callable[[], object] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a command."""
        return self.call(Command(*words), arrange=arrange, environment=environment)

    def call(
        self,
        run: Callable[[], object],
        *,
        arrange: Callable[[], object] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a call in a process of its own, with this project's settings."""
        variables = project_of(self.settings, self.at)
        return self._forge.start(run, variables | dict(environment or {}), arrange)

    def run(self, *words: object, arrange: Callable[[], object] | None = None) -> Ended:
        """Run a command to its end, whatever that is."""
        return self.start(*words, arrange=arrange).wait()

    def done(self, *words: object) -> Ended:
        """Run a command that must succeed."""
        ended = self.run(*words)
        assert ended.code == 0, (words, ended)
        return ended

    def _make_states(self) -> None:
        bars = pq.read_table(SAMPLE / "bars.parquet")
        after = (MONDAY - HISTORY).timestamp()
        opened, never_closes = pc.field("timestamp"), pc.field("symbol") == "BINANCE:BTCUSDT"
        over = (opened < MONDAY.timestamp() - 86_400) | (
            (opened < MONDAY.timestamp()) & ~never_closes
        )
        bars = bars.filter(pc.field("symbol").isin(SYMBOLS) & (opened > after) & over)
        for number, symbols in enumerate((SYMBOLS[:4], SYMBOLS[4:])):  # two parts a date
            path = self._folder / f"bars-{number}.parquet"
            pq.write_table(bars.filter(pc.field("symbol").isin(symbols)), path)
            ended = self.run("import-bars", path)
            assert ended.code in (0, 3), ended  # 3 where many of the bars close later than now
        # By no one factor: a past that is scaled as a whole is refused.
        dearer = pa.array([1 + 0.01 * (row % 7 + 1) for row in range(bars.num_rows)])
        for name in ("open", "high", "low", "close"):
            place = bars.column_names.index(name)
            bars = bars.set_column(place, name, pc.multiply(bars[name], dearer))
        pq.write_table(bars, self.restated)
        self._save(BARS)
        self.done("local-features")
        self.done("feature-ingest", *self.scan)
        self.at = MONDAY + timedelta(hours=1)
        self.done("feature-ingest", *self.scan, "--refresh")
        self.at = TUESDAY
        self._a_day()
        self.done("materialize")
        self.at = WEDNESDAY
        self._save(SERVED)
        self.done("data-ingest", *self.scan)
        self._save(FURTHER)
        kept = CacheFile(FILE, self.settings.lakehouse).path
        kept.write_bytes(kept.read_bytes()[:-1_000])
        self._save(STALE)
        self.restore(FURTHER)
        self._restate_a_bar()
        self._save(RESTATED)
        self.restore(SERVED)
        self._a_day()
        self._save(NEWS)
        self._wait_for_a_split()
        for job in ("validate", "parity"):
            self.done(job)
        self.at = THURSDAY
        self._save(ALL_KINDS)

    def _a_day(self) -> None:
        for job in ("data-ingest", "meta-ingest", "feature-ingest"):
            self.done(job, *self.scan)
        self.done("local-features")

    def _restate_a_bar(self) -> None:
        part = next(each for each in list_parts(self.settings.lakehouse, OHLCV_1D))
        bar = read_current([part], OHLCV_1D).slice(0, 1)
        for name in ("high", "close"):
            place = bar.column_names.index(name)
            bar = bar.set_column(place, bar.schema.field(name), pc.multiply(bar[name], 1.01))
        bar = created_at(bar, self.at)
        append_part(self.settings.lakehouse, OHLCV_1D, bar, "20210414T200000Z-restated")

    def _wait_for_a_split(self) -> None:
        """Append what takes weeks: a split ahead, held and missed bars, absences, a member."""
        opened = WEDNESDAY.replace(hour=13)
        close = WEDNESDAY.replace(hour=20, minute=0)
        made = {"event_timestamp": close, "created_timestamp": close, "source": "scanner"}
        prices = dict.fromkeys(("open", "high", "low", "close", "previous_close"), 2000.0)
        split = made | {"symbol": "NASDAQ:AAPL", "split_ratio": 1.0}
        bar = made | prices | {"symbol": "NASDAQ:GOOGL", "volume": 1.0, "split_ratio": 1.0}
        absent = {"symbol": "NASDAQ:AAL", "days": 1, "observed_at": close}
        session = made | {"timestamp": int(close.timestamp())}
        missed = session | {"symbol": "NASDAQ:AAPL", "previous_close": 1.0}  # it came since
        accepted = session | {"market": "TSE", "session": "2021-04-14", "reason": "by hand"}
        member = made | {"symbol": "NASDAQ:AAPL", "universe": "few", "valid_from": close}
        member["source"] = "import"
        paid = split | {"ex_date": "2021-04-14", "amount": 0.5, "currency": "USD"}
        for dataset, row in (
            (SPLITS, split | {"timestamp": int(close.timestamp())}),
            (HELD_BARS, bar | {"timestamp": int(opened.timestamp())}),
            (ABSENCES, absent),
            (FEEDS, {"symbol": "NASDAQ:AAL", "update_mode": "streaming", "observed_at": close}),
            (MISSED_BARS, missed),
            (ACCEPTED_HOLES, accepted),
            (UNIVERSE_MEMBERS, member),
            (DIVIDENDS, paid | {"timestamp": int(close.timestamp())}),
            (ABSENT_BARS, session | {"symbol": "NASDAQ:AAPL", "session": "2021-04-14"}),
            (OTHER_BARS, {**bar, "timestamp": int(opened.timestamp()), "source": "fetch:yahoo"}),
        ):
            rows = pa.Table.from_pylist([row], schema=arrow_schema(dataset))
            append_part(self.settings.lakehouse, dataset, rows, "20210414T200000Z-by-hand")

    def _save(self, state: State) -> None:
        shutil.copytree(self.data, self._folder / state.name)


def content(settings: Project) -> Content:
    """Return every row of the lakehouse, whatever part it lies in and whenever it was written."""
    rows: Content = {}
    for dataset in DATASETS:
        tables = [read_file(part) for part in list_parts(settings.lakehouse, dataset)]
        if tables:
            whole = pa.concat_tables(table.replace_schema_metadata(None) for table in tables)
            whole = whole.sort_by([(name, "ascending") for name in dataset.key])
            kept = [name for name in whole.column_names if name != "created_timestamp"]
            rows[dataset.name] = whole.select(kept).to_pylist()
    return rows
