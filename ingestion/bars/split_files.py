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
from ingestion.bars.ex_dates import on_ex_dates, undisputed
from ingestion.bars.header import Role
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

    def refuse(split: Split) -> None:
        ratio = f"ratio {split.ratio:g}"
        refusals.add(Refusal(str(path), split.row, split.symbol, Reason.DUPLICATE, ratio))

    splits, repeated = undisputed(days.values(), lambda split: split.ratio, refuse)
    return SplitsFile(read, repeated, splits)


def splits_of(
    file: VendorFile, naming: Naming, refusals: Refusals, *, is_first: bool
) -> Iterator[Split]:
    """Yield the splits of some rows, and refuse the other rows."""
    ratios = _ratios_of_file(file)

    def fault(at: int) -> tuple[Reason, str] | None:
        is_ratio = np.isfinite(ratios[at]) and ratios[at] > 0
        return None if is_ratio else (Reason.SPLIT, _as_written(file, at))

    for each in on_ex_dates(file, naming, refusals, fault, is_first=is_first):
        yield Split(each.symbol, each.close, ratios[each.at], each.row)


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
