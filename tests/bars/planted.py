"""Faults planted in real prices: what an import must name, or set right.

A panel is a file of daily bars as a vendor has it, as traded, with a column of splits. Each faulty
symbol gets one fault. The twin is the same panel without faults.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

Columns = dict[str, np.ndarray]
"""``date`` and ``open``, ``high``, ``low``, ``close``, ``volume``, ``split`` of one symbol."""
RATIOS = (2.0, 3.0, 4.0, 10.0, 0.1, 0.2)
NEW_YORK = ZoneInfo("America/New_York")
_PRICES = ("open", "high", "low", "close")


@dataclass
class Planted:
    """A panel with its faults."""

    panel: dict[str, Columns]
    twin: dict[str, Columns]
    faults: dict[str, str] = field(default_factory=dict)
    """By symbol, the fault's kind."""
    spoilt: dict[str, set[str]] = field(default_factory=dict)
    """By symbol, the dates of rows that are bad or missing."""
    splits: list[str] = field(default_factory=list)
    """Lines of a splits file."""
    files: dict[str, pa.Table] = field(default_factory=dict)
    """CSV files beside the panel's, by name."""
    owners: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Whose bars those files have."""


def read_panel(
    path: Path, symbol_of: Callable[[str], str], first: str, last: str, most: int
) -> dict[str, Columns]:
    """Return the columns of the first symbols with a bar on each date that most of them have."""
    read = pq.read_table(path)
    if "date" not in read.column_names:
        opened = pa.array(read["timestamp"].to_numpy(), pa.timestamp("s"))
        read = read.append_column("date", opened.cast(pa.date32()))
    table = read.to_pydict()
    rows: dict[str, dict[str, tuple[float, ...]]] = {}
    splits = table.get("split_coefficient") or table["split_ratio"]
    values = zip(*(table[name] for name in (*_PRICES, "volume")), splits, strict=True)
    for symbol, day, bar in zip(table["symbol"], table["date"], values, strict=True):
        if first <= str(day) <= last and (name := symbol_of(symbol)):
            rows.setdefault(name, {})[str(day)] = bar
    longest = max(map(len, rows.values()))
    panel = {}
    for name in sorted(rows):
        if len(rows[name]) == longest and len(panel) < most:
            days = sorted(rows[name])
            bars = np.array([rows[name][day] for day in days], dtype=float).T
            values = dict(zip((*_PRICES, "volume", "split"), bars, strict=True))
            panel[name] = {"date": np.array(days), **values}
    return panel


def _copy(columns: Columns) -> Columns:
    return {name: values.copy() for name, values in columns.items()}


def _scale(columns: Columns, at: slice, factor: float) -> None:
    for name in _PRICES:
        columns[name][at] *= factor
    columns["volume"][at] /= factor


def _with_split(columns: Columns, at: int, ratio: float) -> Columns:
    """The same history with a split: earlier prices in the old money."""
    columns = _copy(columns)
    _scale(columns, slice(0, at), ratio)
    columns["split"][at] *= ratio
    return columns


def _without(columns: Columns, at: int) -> Columns:
    return {name: np.delete(values, at) for name, values in columns.items()}


def plant(panel: dict[str, Columns], seed: int, each: int, kinds: tuple[str, ...]) -> Planted:
    """Plant so many faults of each kind, in symbols and on days drawn at random."""
    rng = np.random.default_rng(seed)
    calm = [name for name, columns in panel.items() if (columns["split"] == 1).all()]
    chosen = iter(rng.permutation(calm).tolist())
    planted = Planted(dict(panel), dict(panel))
    for kind in kinds:
        for _ in range(each):
            symbol = next(chosen)
            base, size = panel[symbol], len(panel[symbol]["date"])
            at = int(rng.integers(30, size - 30))
            planted.faults[symbol] = kind
            if kind == "F two companies in a file":
                other = next(chosen)
                planted.faults[other] = kind
                _in_one_file(planted, (symbol, other), rng)
            elif kind == "F a file for each month":
                _by_month(planted, symbol)
            else:
                _one(planted, kind, symbol, base, at, float(rng.choice(RATIOS)), rng)
    return planted


def _in_one_file(planted: Planted, symbols: tuple[str, str], rng: np.random.Generator) -> None:
    """Move two symbols to a file whose only word of them is a column that nobody knows."""
    column = str(rng.choice(["house", "pool", "listing"]))
    form = "{}" if rng.random() < 0.5 else "{} Holdings"
    tables = []
    for symbol in symbols:
        rows = _table(planted.panel.pop(symbol))
        text = form.format(symbol.partition(":")[2])
        tables.append(rows.append_column(column, pa.array([text] * rows.num_rows)))
    rows = pa.concat_tables(tables)
    if rng.random() < 0.5:
        rows = rows.sort_by("date")
    name = f"bulk{len(planted.files)}.csv"
    planted.files[name], planted.owners[name] = rows, symbols


def _by_month(planted: Planted, symbol: str) -> None:
    """Move a symbol to files that are named by it and by their month, as crypto dumps are."""
    rows = _table(planted.panel.pop(symbol))
    months = np.array([day[:7] for day in rows["date"].to_pylist()])
    for month in np.unique(months):
        name = f"{symbol.partition(':')[2]}-1d-{month}.csv"
        planted.files[name] = rows.filter(pa.array(months == month))
        planted.owners[name] = (symbol,)


def _table(columns: Columns) -> pa.Table:
    return pa.table({name: columns[name] for name in ("date", *_PRICES, "volume")})


def _utc(day: str, hour: int, minute: int = 0) -> str:
    """Return an instant of New York's day as vendors write it in UTC."""
    local = datetime.fromisoformat(day).replace(hour=hour, minute=minute, tzinfo=NEW_YORK)
    return f"{local.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _one(
    planted: Planted,
    kind: str,
    symbol: str,
    base: Columns,
    at: int,
    ratio: float,
    rng: np.random.Generator,
) -> None:
    split, day = _with_split(base, at, ratio), str(base["date"][at])
    bad, twin = _copy(base), base
    if kind == "B split of adjusted prices":
        twin, bad["split"][at] = split, ratio
    elif kind == "B split upside down":
        twin, bad = split, _copy(split)
        bad["split"][at] = 1 / ratio
    elif kind == "B split on another day":
        twin, bad = split, _copy(split)
        bad["split"][at], bad["split"][at + 3] = 1, ratio
    elif kind == "C split dropped":
        bad = _with_split(base, at, ratio)
        # At the open exactly: how near the market lets real ones come is measured elsewhere.
        for name in _PRICES:
            bad[name][:at] *= base["open"][at] / base["close"][at - 1]
        twin = _copy(bad)
        bad["split"][at] = 1
    elif kind == "C bad bars":
        length = int(rng.integers(1, 4))
        _scale(bad, slice(at, at + length), float(rng.choice([100.0, 0.01, 12.0])))
        planted.spoilt[symbol] = set(base["date"][at : at + length].tolist())
    elif kind == "C another unit":
        _scale(bad, slice(at, None), float(rng.choice([100.0, 0.01, 1000.0])))
    elif kind == "D ex-date without a bar":
        twin, bad = _without(split, at), _without(split, at)
        bad["split"][:] = 1
        twin["split"][at] = ratio
        planted.splits.append(f"{symbol},{day},{ratio}")
        planted.spoilt[symbol] = {day}
    elif kind == "D ex-date of a bad row":
        twin, bad = _without(split, at), _copy(split)
        twin["split"][at] = ratio
        bad["high"][at] = bad["low"][at] / 2
        planted.spoilt[symbol] = {day}
    elif kind == "E volume revised":
        bad = {name: np.insert(values, at, values[at]) for name, values in base.items()}
        bad["volume"][at] *= 0.9
    elif kind == "A instant in no session":
        bad = {name: np.insert(values, at, values[at]) for name, values in base.items()}
        bad["date"] = bad["date"].astype("U25")
        saturday = np.datetime64(day) + (5 - (np.datetime64(day).astype(int) + 3) % 7)
        bad["date"][at] = f"{saturday}T15:00:00Z"
    elif kind == "A midnight as a start":
        bad["date"] = np.array([f"{each}T00:00:00Z" for each in base["date"]])
    elif kind == "A close as a start":
        bad["date"] = np.array([_utc(str(each), 16) for each in base["date"]])
    elif kind == "A session twice":
        bad = {name: np.insert(values, at, values[at]) for name, values in base.items()}
        bad["date"] = bad["date"].astype("U25")
        bad["date"][at] = _utc(day, 9, 30)
    planted.panel[symbol], planted.twin[symbol] = bad, twin


def write_files(files: dict[str, pa.Table], folder: Path) -> list[Path]:
    """Write CSV files, by name."""
    paths = [folder / name for name in files]
    for path, rows in zip(paths, files.values(), strict=True):
        pacsv.write_csv(rows, path)
    return paths


def write_panel(panel: dict[str, Columns], path: Path) -> Path:
    """Write a panel as one file in long form."""
    names = [name for name, columns in panel.items() for _ in columns["date"]]
    columns = {
        name: np.concatenate([each[name] for each in panel.values()])
        for name in ("date", *_PRICES, "volume", "split")
    }
    columns["split_ratio"] = columns.pop("split")
    pq.write_table(pa.table({"symbol": names, **columns}), path)
    return path
