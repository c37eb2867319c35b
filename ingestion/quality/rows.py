"""Rows parted by what they break."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from ingestion.quality.rules import Mask

FAILED = "failed"
"""Column of quarantined rows: the names of the checks that the row broke."""


class Parted(NamedTuple):
    """Rows in two halves, each in the order given."""

    accepted: pa.Table
    quarantined: pa.Table
    """With a last column :data:`FAILED`, a list of strings."""


def part(rows: pa.Table, broken: Mapping[str, Mask]) -> Parted:
    """Part rows by whether they break anything."""
    masks = list(broken.values())
    bad = np.logical_or.reduce(masks) if masks else np.zeros(rows.num_rows, dtype=bool)
    names = np.array(list(broken))
    failed = [names[list(row)].tolist() for row in zip(*(mask[bad] for mask in masks), strict=True)]
    quarantined = _with_failed(rows.filter(pa.array(bad)), failed)
    return Parted(rows.filter(pa.array(~bad)) if bad.any() else rows, quarantined)


def all_quarantined(parted: Parted, checks: Sequence[str]) -> pa.Table:
    """Return all rows as quarantined for these checks, besides those that they broke already."""
    failed = [*([[]] * len(parted.accepted)), *parted.quarantined[FAILED].to_pylist()]
    rows = pa.concat_tables([parted.accepted, parted.quarantined.drop_columns([FAILED])])
    return _with_failed(rows, [[*own, *checks] for own in failed])


def _with_failed(rows: pa.Table, failed: list[list[str]]) -> pa.Table:
    return rows.append_column(FAILED, pa.array(failed, pa.list_(pa.string())))
