"""Planted faults are named or set right, and no good bar is lost.

The long form, 500 symbols over five years, runs with ``make test-planted``: it needs a file of
prices that the project does not have, named by ``PLANTED_BARS``.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import planted
import pyarrow.parquet as pq
import pytest

from feature_repo.catalog import OHLCV_1D
from ingestion.jobs.import_bars import ImportRequest, ImportResult, import_bars
from ingestion.lakehouse import list_parts, read_current
from ingestion.settings import Settings

SAMPLE = Path(__file__).resolve().parent.parent.parent / "data" / "sample" / "bars.parquet"
KINDS = (
    "A instant in no session",
    "B split of adjusted prices",
    "B split upside down",
    "B split on another day",
    "C split dropped",
    "C bad bars",
    "C another unit",
    "D ex-date without a bar",
    "D ex-date of a bad row",
    "E volume revised",
)
SET_RIGHT = {kind for kind in KINDS if kind[0] in "ADE"} | {"C bad bars"}
Stored = dict[str, dict[str, tuple[float, float]]]
"""Close and split ratio by symbol and date."""


def load(
    settings: Settings, panel: dict[str, planted.Columns], splits: list[str], name: str
) -> tuple[ImportResult, Stored]:
    """Import a panel into a lakehouse of its own; returns what became of it, and what is stored."""
    folder = settings.project / name
    folder.mkdir()
    path = planted.write_panel(panel, folder / "bars.parquet")
    lines = folder / "splits.csv"
    lines.write_text("symbol,date,ratio\n" + "\n".join(splits))
    own = replace(settings, lakehouse=folder / "lakehouse")
    request = ImportRequest((path,), splits=lines if splits else None)
    result = import_bars(own, request)
    stored: Stored = {}
    for part in list_parts(own.lakehouse, OHLCV_1D):
        rows = read_current([part], OHLCV_1D, ["symbol", "timestamp", "close", "split_ratio"])
        for symbol, _, close, ratio in zip(*(rows[n].to_pylist() for n in range(4)), strict=True):
            stored.setdefault(symbol, {})[str(part.date)] = close, ratio
    return result, stored


def named(result: ImportResult, lakehouse_rows: dict[str, int]) -> set[str]:
    doubts = result.doubts
    told = {each.symbol for each in (*doubts.contradictions, *doubts.suspects)}
    return told | lakehouse_rows.keys()


def largest_return(bars: dict[str, tuple[float, float]], sessions: int) -> float:
    """Largest step of logarithms over up to so many sessions, splits taken out."""
    days = sorted(bars)
    level = np.log([bars[day][0] for day in days]) + np.cumsum(np.log([bars[d][1] for d in days]))
    steps = [np.abs(level[n:] - level[:-n]).max() for n in range(1, sessions + 1)]
    return float(max(steps))


def judge(faulty: planted.Planted, settings: Settings) -> dict[str, int]:
    """Import both twins, and compare them; returns figures."""
    result, stored = load(settings, faulty.panel, faulty.splits, "faulty")
    _, clean = load(settings, faulty.twin, [], "clean")
    refused = read_refused(result)
    told = named(result, refused)
    lost = []
    for symbol, bars in clean.items():
        own, kind = stored.get(symbol, {}), faulty.faults.get(symbol)
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
    for symbol, kind in faulty.faults.items():
        assert symbol in told or kind in SET_RIGHT, (symbol, kind)
    unfaulty = told - faulty.faults.keys()
    figures = {
        "rows": result.read,
        "faults": len(faulty.faults),
        "good bars lost": len(lost),
        "symbols named without a planted fault": len(unfaulty),
    }
    print(figures, sorted(unfaulty), lost[:20])
    assert len(lost) <= 1e-4 * result.read
    return figures


def read_refused(result: ImportResult) -> dict[str, int]:
    if result.refused_file is None:
        return {}
    symbols = pq.read_table(result.refused_file)["symbol"].to_pylist()
    return {symbol: symbols.count(symbol) for symbol in set(symbols)}


def test_faults_planted_in_the_sample(lakehouse: Settings) -> None:
    def stock(symbol: str) -> str:
        return symbol if symbol.startswith(("NASDAQ:", "NYSE:")) else ""

    panel = planted.read_panel(SAMPLE, stock, "2020-10-01", "2021-04-15", 60)
    figures = judge(planted.plant(panel, seed=11, each=4, kinds=KINDS), lakehouse)
    assert figures["faults"] == 40
    assert figures["symbols named without a planted fault"] == 0


@pytest.mark.skipif("PLANTED_BARS" not in os.environ, reason="needs a file of many prices")
def test_faults_planted_in_five_years_of_five_hundred_symbols(lakehouse: Settings) -> None:
    path = Path(os.environ["PLANTED_BARS"])
    panel = planted.read_panel(path, "NYSE:{}".format, "2016-04-01", "2021-04-15", 500)
    figures = judge(planted.plant(panel, seed=2021, each=12, kinds=KINDS), lakehouse)
    assert figures["faults"] == 12 * len(KINDS)
