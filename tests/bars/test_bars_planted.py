"""Planted faults are named or set right, and no good bar is lost.

The long form, 500 symbols over five years, runs with ``make test-planted``: it needs a file of
prices that the project does not have, named by ``PLANTED_BARS``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path

import numpy as np
import planted
import pyarrow.parquet as pq
import pytest

from ingestion.catalog import OHLCV_1D
from ingestion.jobs.ingest.import_bars import ImportRequest, ImportResult, import_bars
from ingestion.jobs.serve.targets import training_labels
from ingestion.lakehouse import list_parts, read_current
from ingestion.project import Project

SAMPLE = Path(__file__).resolve().parent.parent.parent / "data" / "sample" / "bars.parquet"
KINDS = (
    "A instant in no session",
    "A midnight as a start",
    "A close as a start",
    "A session twice",
    "B split of adjusted prices",
    "B split upside down",
    "B split on another day",
    "C split dropped",
    "C bad bars",
    "C another unit",
    "D ex-date without a bar",
    "D ex-date of a bad row",
    "E volume revised",
    "F two companies in a file",
    "F a file for each month",
)
SET_RIGHT = {kind for kind in KINDS if kind[0] in "DE"} | {
    "A instant in no session",
    "A midnight as a start",
    "A session twice",
    "C bad bars",
    "F a file for each month",
}
TARGET = "fwd_return_5d"
WINDOW = 5
Stored = dict[str, dict[str, tuple[float, float]]]
"""Close and split ratio by symbol and date."""
Labelled = dict[str, dict[datetime, float]]
"""Labels by symbol and decision."""


@dataclass(frozen=True)
class Loaded:
    """A lakehouse of its own, with a panel in it."""

    result: ImportResult
    stored: Stored
    labels: Labelled


def load(settings: Project, panel: dict[str, planted.Columns], name: str) -> Loaded:
    """Import a panel without faults."""
    return load_faulty(settings, planted.Planted(panel, panel), name)


def load_faulty(settings: Project, faulty: planted.Planted, name: str) -> Loaded:
    """Import a panel, and the files and splits beside it."""
    folder = settings.folder / name
    folder.mkdir()
    path = planted.write_panel(faulty.panel, folder / "bars.parquet")
    files = planted.write_files(faulty.files, folder)
    lines = folder / "splits.csv"
    lines.write_text("symbol,date,ratio\n" + "\n".join(faulty.splits))
    own = replace(settings, lakehouse_at=folder / "lakehouse")
    given = lines if faulty.splits else None
    result = import_bars(own, ImportRequest((path, *files), exchange="NYSE", splits=given))
    stored: Stored = {}
    for part in list_parts(own.lakehouse, OHLCV_1D):
        rows = read_current([part], OHLCV_1D, ["symbol", "timestamp", "close", "split_ratio"])
        for symbol, _, close, ratio in zip(*(rows[n].to_pylist() for n in range(4)), strict=True):
            stored.setdefault(symbol, {})[str(part.date)] = close, ratio
    days = sorted({date.fromisoformat(day) for bars in stored.values() for day in bars})
    labels = training_labels(own, TARGET, days[0], days[-1]).labels.table
    labelled: Labelled = {}
    names = ("symbol", "event_timestamp", TARGET)
    for symbol, event, label in zip(*(labels[n].to_pylist() for n in names), strict=True):
        labelled.setdefault(symbol, {})[event] = label
    return Loaded(result, stored, labelled)


def named(result: ImportResult, faulty: planted.Planted) -> set[str]:
    """The symbols that an import reports: in what it doubts, refused rows and refused files."""
    doubts = result.doubts
    told = {each.symbol for each in (*doubts.contradictions, *doubts.suspected_splits)}
    files = [Path(file).name for file in result.refused_files]
    told |= {symbol for file in files for symbol in faulty.owners[file]}
    if result.refused_file is not None:
        told |= set(pq.read_table(result.refused_file.path)["symbol"].to_pylist())
    return told


def largest_return(bars: dict[str, tuple[float, float]], sessions: int) -> float:
    """Largest step of logarithms over up to so many sessions, splits taken out."""
    days = sorted(bars)
    level = np.log([bars[day][0] for day in days]) + np.cumsum(np.log([bars[d][1] for d in days]))
    steps = [np.abs(level[n:] - level[:-n]).max() for n in range(1, sessions + 1)]
    return float(max(steps))


def judge(faulty: planted.Planted, settings: Project) -> dict[str, int]:
    """Import both twins, and compare them; returns figures."""
    ours, twin = load_faulty(settings, faulty, "faulty"), load(settings, faulty.twin, "clean")
    told = named(ours.result, faulty)
    lost = []
    assert ours.stored.keys() <= twin.stored.keys()
    for symbol, bars in twin.stored.items():
        own, kind = ours.stored.get(symbol, {}), faulty.faults.get(symbol)
        missing = bars.keys() - own.keys() - faulty.spoilt.get(symbol, set())
        if kind is None or kind in SET_RIGHT:
            # (What is stored equals the twin, and only what was planted is missing.)
            lost += [(symbol, day) for day in missing]
            wrong = {day: bar for day, bar in own.items() if not np.allclose(bar, bars[day])}
            assert not wrong, (symbol, kind)
        else:
            assert symbol in told, (symbol, kind)
        if own:
            assert largest_return(own, 1) <= largest_return(bars, 5) + 1e-9, (symbol, kind)
    unfaulty = told - faulty.faults.keys()
    figures = {
        "rows": ours.result.read,
        "faults": len(faulty.faults),
        "good bars lost": len(lost),
        "symbols named without a planted fault": len(unfaulty),
        "labels": sum(map(len, ours.labels.values())),
        "labels unlike the twin's": labels_unlike(ours.labels, twin, faulty),
    }
    print(figures, sorted(unfaulty), lost[:20])
    assert len(lost) <= 1e-4 * ours.result.read
    return figures


def labels_unlike(labels: Labelled, twin: Loaded, faulty: planted.Planted) -> int:
    """Count the labels that differ from the twin's; none is beyond what the twin has.

    Only where bars are missing may they differ: a window of five bars is one of more sessions then.
    """
    unlike = 0
    for symbol, own in labels.items():
        theirs = twin.labels[symbol]
        differ = [day for day, label in own.items() if not np.isclose(label, theirs.get(day, 9))]
        missing = len(faulty.spoilt.get(symbol, ()))
        assert missing or not differ, (symbol, differ[:3])
        widest = largest_return(twin.stored[symbol], WINDOW + missing)
        beyond = [day for day in differ if abs(np.log1p(own[day])) > widest + 1e-9]
        assert not beyond, (symbol, beyond[:3])
        unlike += len(differ)
    return unlike


def test_faults_planted_in_the_sample(lakehouse: Project) -> None:
    def stock(symbol: str) -> str:
        exchange, _, ticker = symbol.partition(":")
        return f"NYSE:{ticker}" if exchange in ("NASDAQ", "NYSE") else ""

    panel = planted.read_panel(SAMPLE, stock, "2020-12-15", "2021-04-15", 60)
    figures = judge(planted.plant(panel, seed=11, each=2, kinds=KINDS), lakehouse)
    assert figures["faults"] == 2 * (len(KINDS) + 1)
    assert figures["symbols named without a planted fault"] == 0


@pytest.mark.skipif("PLANTED_BARS" not in os.environ, reason="needs a file of many prices")
def test_faults_planted_in_five_years_of_five_hundred_symbols(lakehouse: Project) -> None:
    path = Path(os.environ["PLANTED_BARS"])
    panel = planted.read_panel(path, "NYSE:{}".format, "2016-04-01", "2021-04-15", 500)
    figures = judge(planted.plant(panel, seed=2021, each=12, kinds=KINDS), lakehouse)
    assert figures["faults"] == 12 * (len(KINDS) + 1)
