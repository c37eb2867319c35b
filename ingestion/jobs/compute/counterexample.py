"""The search for the one bar whose change moves a value that must not see it.

All later bars get invented values at first; then half of them keep theirs, and so on, until one is
left that still moves the feature.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.instants import utc
from ingestion.base.wording import counted

Compute = Callable[[pa.Table], pa.Table]
"""As :func:`~ingestion.formulas.compute_local_features`: bars in; one row per bar out, in order."""
Columns = dict[str, NDArray[np.float64]]

KEYS = ["symbol", "timestamp"]
_FUTURES = 3
"""How many invented futures are tried before none is said to move the feature."""
_WHAT = (
    ("price", ("open", "high", "low", "close")),
    ("volume", ("volume",)),
    ("split", ("split_ratio",)),
)


class Difference(NamedTuple):
    """One value before and after a change."""

    symbol: str
    timestamp: int
    """Open of the bar, Unix s."""
    before: float | None
    after: float | None


@dataclass(frozen=True)
class Counterexample:
    """One value that is moved by the change of one bar that it must not see."""

    symbol: str
    timestamp: int
    """Open of the value's bar, Unix s."""
    value: float | None
    moved: float | None
    """The value after the change."""
    what: str
    """What of the other bar was changed: prices, volume or split."""
    of_symbol: str
    of_timestamp: int
    """Open of the bar that was changed, Unix s."""

    def __str__(self) -> str:
        return (
            f"{self.symbol}, bar of {instant_text(self.timestamp)}: {self.value!r}, and "
            f"{self.moved!r} with another {self.what} in the bar of "
            f"{instant_text(self.of_timestamp)} of {self.of_symbol}"
        )


def smallest_case(
    compute: Compute,
    feature: str,
    bars: pa.Table,
    found: Difference,
    altered: NDArray[np.int64],
    seed: int,
) -> Counterexample | None:
    """Return the smallest case that is found; None if no other values move the feature.

    Parameters
    ----------
    bars
        Sorted by symbol and timestamp.
    found
        What moved.
    altered
        Rows that were changed or taken away when it did.
    seed
        Of the invented values.
    """
    own = bars.filter(pc.equal(bars["symbol"], found.symbol))
    later = np.flatnonzero(own["timestamp"].to_numpy() > found.timestamp)
    for few, rows in ((own, later), (bars, altered)):
        for attempt in range(_FUTURES):
            values = invented(few, np.random.default_rng([seed, attempt]))
            if case := _bisected(compute, feature, few, rows, values):
                return case
    return None


def _bisected(
    compute: Compute, feature: str, bars: pa.Table, rows: NDArray[np.int64], values: Columns
) -> Counterexample | None:
    before = np.setdiff1d(np.arange(bars.num_rows), rows)
    if not len(before) or not len(rows):
        return None
    whole = computed(compute, bars).select([*KEYS, feature])

    def moved(rows: NDArray[np.int64], names: Iterable[str] = values) -> Difference | None:
        chosen = {name: values[name] for name in names if name in values}
        again = computed(compute, replaced(bars, chosen, rows))
        # The last first: it is next to the change.
        expected, found = (table.take(pa.array(before[::-1])) for table in (whole, again))
        return first_difference(feature, expected, found)

    if not moved(rows):
        return None
    while len(rows) > 1:
        half = next((half for half in np.array_split(rows, 2) if moved(half)), None)
        if half is None:  # it takes both
            return None
        rows = half
    if len(pc.unique(bars["symbol"])) == 1:
        before = np.arange(rows[0])  # also those between the cut and the bar that is left
    for what, names in (*_WHAT, ("set of values", tuple(values))):
        if found := moved(rows, names):
            changed = bars.slice(int(rows[0]), 1)
            of_bar = (changed[key][0].as_py() for key in KEYS)
            return Counterexample(*found, what, *of_bar)
    return None


def invented(bars: pa.Table, rng: np.random.Generator) -> Columns:
    """Return other prices, volumes and split ratios for all bars: those columns that there are."""
    count = bars.num_rows
    factor = np.exp(rng.normal(0, 1, count))
    within = {name: rng.uniform(0, 1, count) for name in ("open", "close")}
    low = bars["low"].to_numpy() * factor * rng.uniform(0.8, 1, count)
    high = bars["high"].to_numpy() * factor * rng.uniform(1, 1.25, count)
    new = {"low": low, "high": high}
    new |= {name: low + share * (high - low) for name, share in within.items()}
    new["volume"] = np.round(bars["volume"].to_numpy() * factor) + rng.integers(1, 999, count)
    if "split_ratio" in bars.column_names:
        ratios = rng.choice([1.0, 2.0, 0.1, 1.5], count, p=[0.7, 0.1, 0.1, 0.1])
        new["split_ratio"] = bars["split_ratio"].to_numpy() * ratios
    for name, values in new.items():
        given = bars[name].to_numpy()
        # Prices near the limits of a double may become none.
        new[name] = np.where(np.isfinite(values), values, given)
    return new


def replaced(bars: pa.Table, columns: Columns, rows: NDArray[np.int64]) -> pa.Table:
    """Put other values into some rows."""
    for name, values in columns.items():
        mixed = bars[name].to_numpy().astype(np.float64)
        mixed[rows] = values[rows]
        bars = bars.set_column(bars.column_names.index(name), name, pa.array(mixed))
    return bars


def computed(compute: Compute, bars: pa.Table) -> pa.Table:
    """Compute features, and check that they have the keys of their bars."""
    result = compute(bars)
    keys = pa.schema([("symbol", pa.string()), ("timestamp", pa.int64())])
    if not result.select(KEYS).cast(keys).equals(bars.select(KEYS).cast(keys)):
        raise ValueError(
            f"the result has {counted(result.num_rows, 'row')} for "
            f"{counted(bars.num_rows, 'bar')}, or other keys or "
            "another order: it must have one row per bar, sorted by symbol and timestamp"
        )
    return result


def first_difference(name: str, expected: pa.Table, again: pa.Table) -> Difference | None:
    """Return a column's first difference; -0.0 is not 0.0, and null is no value."""
    nulls, bits = [], []
    for column in (expected[name], again[name]):
        nulls.append(column.is_null().to_numpy())
        # Nulls become 0 here: what lies in memory below them has no meaning.
        bits.append(column.cast(pa.float64()).fill_null(0.0).to_numpy().view(np.int64))
    differ = (nulls[0] != nulls[1]) | (bits[0] != bits[1])
    if not differ.any():
        return None
    row = int(np.argmax(differ))
    return Difference(
        expected["symbol"][row].as_py(),
        expected["timestamp"][row].as_py(),
        expected[name][row].as_py(),
        again[name][row].as_py(),
    )


def instant_text(seconds: int) -> str:
    """Return an instant of Unix seconds for people."""
    return f"{utc(seconds):%Y-%m-%dT%H:%M:%SZ}"
