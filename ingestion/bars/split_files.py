"""Files of splits: symbol, ex-date and ratio, as vendors write them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ingestion.bars.arrays import Split
from ingestion.bars.bar_reader import name_rows
from ingestion.bars.cells import Kind
from ingestion.bars.header import Role
from ingestion.bars.placing import NO_CLOSE, next_session, place_times, why_no_place
from ingestion.bars.reading import VendorFile, read_batches
from ingestion.bars.refusals import Reason, Refusal, Refusals
from ingestion.bars.vendor_symbols import Naming

_NEEDED = (Role.TIME, Role.SPLIT_RATIO)
SPLIT_ROLES = (*_NEEDED, Role.SPLIT_FROM, Role.SPLIT_TO, Role.SYMBOL)
"""What the columns of a table of splits mean."""


@dataclass(frozen=True)
class SplitsFile:
    """The content of a file of splits."""

    read: int
    """How many rows it has, with the refused ones."""
    repeated: int
    """How many rows repeat an earlier one."""
    splits: list[Split]
    """One per symbol and ex-date."""


def read_splits(
    path: Path, naming: Naming, refusals: Refusals, date_format: str | None = None
) -> SplitsFile:
    """Read a file of splits: symbol, ex-date, ratio.

    A ratio is new shares for old: ``4``, ``4:1``, ``4/1``, ``4-for-1``, ``1 for 10``, or two
    columns such as ``split_to`` and ``split_from``.

    Raises
    ------
    InputError
        If the file cannot be read, or names tickers of no exchange.
    """
    read, days = 0, dict[tuple[str, int], list[Split]]()
    for number, file in enumerate(read_batches(path, _NEEDED, date_format)):
        read += len(file) + len(file.broken)
        for split in splits_of(file, naming, refusals, is_first=number == 0):
            days.setdefault((split.symbol, split.event), []).append(split)
    repeated = 0
    for (symbol, _), rows in list(days.items()):
        if len({split.ratio for split in rows}) > 1:
            del days[symbol, rows[0].event]
            for each in rows:
                ratio_of_row = f"ratio {each.ratio:g}"
                refusals.add(Refusal(str(path), each.row, symbol, Reason.DUPLICATE, ratio_of_row))
        else:
            repeated += len(rows) - 1
    splits = [rows[0] for rows in days.values()]
    return SplitsFile(read, repeated, splits)


def splits_of(
    file: VendorFile, naming: Naming, refusals: Refusals, *, is_first: bool
) -> Iterator[Split]:
    """Yield the splits of some rows, and refuse the other rows."""
    named, which = name_rows(file, naming, refusals, is_first=is_first)
    times = file.times()
    _, closes = place_times(times, [each.symbol for each in named], which)
    for at, (row, ratio) in enumerate(zip(file.rows.tolist(), _ratios_of_file(file), strict=True)):
        symbol, close = named[which[at]].symbol, int(closes[at])
        if symbol is not None and close == NO_CLOSE:
            later = next_session(times, at, symbol)
            close = later.closes if later else NO_CLOSE
        if symbol is None:
            reason, detail = named[which[at]].reason, named[which[at]].problem
        elif times.kinds[at] == Kind.UNREADABLE:
            reason, detail = Reason.TIME, f"{file.columns[Role.TIME][at]}"[:80]
        elif not (np.isfinite(ratio) and ratio > 0):
            reason, detail = Reason.SPLIT, _as_written(file, at)
        elif close == NO_CLOSE:
            text = str(file.columns[Role.TIME][at])[:80]
            reason, detail = Reason.SESSION, f"{text}: {why_no_place(times, at, symbol)}"
        else:
            yield Split(symbol, close, ratio, row)
            continue
        refusals.add(Refusal(str(file.path), row, symbol or "", reason, detail))


def _ratios_of_file(file: VendorFile) -> list[float]:
    if Role.SPLIT_RATIO not in file.columns:
        new, old = (file.numbers(role)[0] for role in (Role.SPLIT_TO, Role.SPLIT_FROM))
        with np.errstate(all="ignore"):
            return list((new / old).tolist())
    column = file.columns[Role.SPLIT_RATIO]
    if pa.types.is_string(column.type):  # it may contain 4:1
        return [_ratio_of_text(value) for value in column.to_pylist()]
    values: list[float] = file.numbers(Role.SPLIT_RATIO)[0].tolist()
    return values


def _as_written(file: VendorFile, at: int) -> str:
    roles = (Role.SPLIT_RATIO, Role.SPLIT_TO, Role.SPLIT_FROM)
    parts = [f"{file.columns[role][at]}"[:80] for role in roles if role in file.columns]
    return " for ".join(parts)


def _ratio_of_text(value: Any) -> float:
    new, *old = re.split(r"\s*(?::|/|\bfor\b)\s*|-for-", str(value).strip().casefold(), maxsplit=1)
    try:
        return float(new) / float(old[0] if old else 1)
    except (ValueError, ZeroDivisionError):
        return float("nan")
