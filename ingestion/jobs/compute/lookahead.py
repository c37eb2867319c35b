"""The lookahead proof: what happens later changes no bit of what was computed before.

1. The features of all bars are computed once: what they must be again.
2. The bars are altered where a feature must not look (:func:`_trials`): history is cut short,
   the future gets other prices, volumes and splits, a split is added later, other symbols are
   taken away.
3. The features are computed again, and every row that lies before the change must be there again,
   equal in every bit.
4. Of each feature that differs, the change is halved until one bar's is left that still moves it
   (:mod:`~ingestion.jobs.compute.counterexample`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import ClassVar, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingestion.base.errors import InputError
from ingestion.base.progress import watched
from ingestion.base.reading import reading_again
from ingestion.catalog import OHLCV_1D
from ingestion.formulas import BarFormula, compute, compute_local_features
from ingestion.jobs.compute.counterexample import (
    KEYS,
    Compute,
    Counterexample,
    computed,
    first_difference,
    instant_text,
    invented,
    replaced,
    smallest_case,
)
from ingestion.jobs.serve.targets import read_formula_bars
from ingestion.lakehouse import Lakehouse, list_parts, read_part
from ingestion.project import Project

T = TypeVar("T")

LAST_BARS = 3
"""How many of the last bars are always cut off, one more at a time: what a daily run sees."""
OTHER_FUTURES = 6
"""How often all later bars of each symbol are invented, behind another bar each time."""
LATER_SPLITS = (2.0, 0.1, 1.5, 7.0)
"""The ratios with which every symbol is split at a random bar, one at a time."""


@dataclass(frozen=True)
class Leak:
    """A feature that saw what it must not see, at the first row found."""

    feature: str
    symbol: str
    timestamp: int
    """Open of the bar, Unix s."""
    whole: float | None
    """Its value with all bars."""
    altered: float | None
    """Its value with the altered bars."""
    change: str
    """How the bars were altered."""
    smallest: Counterexample | None = None
    """None if no single bar's values move it: it sees how many bars there are."""
    what: str = "bar"
    """What it is a value of: ``bar``, or ``day`` of a cross-section, ``timestamp`` being when."""

    def __str__(self) -> str:
        smallest = f"; smallest case: {self.smallest}" if self.smallest else ""
        return (
            f"{self.feature} of {self.symbol}, {self.what} of {instant_text(self.timestamp)}: "
            f"{self.whole!r} with all {self.what}s, {self.altered!r} with {self.change}{smallest}"
        )


@dataclass(frozen=True)
class LookaheadReport:
    """What was compared, and what differed."""

    SHOWN: ClassVar = ("passed",)

    features: tuple[str, ...]
    """The columns that were checked."""
    bars: int
    symbols: int
    exchanges: tuple[str, ...]
    """Whose symbols those are: the part before the colon."""
    recomputations: int
    rows_compared: int
    """Rows of all recomputations together."""
    leaks: tuple[Leak, ...]
    """The first difference of each leaking feature, in the order of ``features``."""
    days: int = 0
    """Days of cross-sections that were compared again with all later days taken away."""

    @property
    def passed(self) -> bool:
        """Whether nothing differed."""
        return not self.leaks


def verify_lakehouse(
    project: Project,
    most_symbols: int = 200,
    formulas: Iterable[BarFormula] | None = None,
    since: date = date.min,
) -> LookaheadReport:
    """Prove all formulas of a project, on its own bars.

    The time grows with the bars of these symbols: each is computed some 40 times.

    Parameters
    ----------
    most_symbols
        Of how many symbols, spread over all exchanges.
    formulas
        Those to prove; all of the project if None.
    since
        UTC date of the first bars' closes; a formula begins there, as if nothing were before.

    Raises
    ------
    InputError
        If the lakehouse contains no bars.
    """
    names = reading_again(lambda: _names(project.lakehouse, since))
    if not names:
        told = "no bars yet" if since == date.min else f"no bars of {since} or later"
        raise InputError(f"{project.lakehouse} has {told}: run `tvfeast import-bars FILE`")
    chosen = spread(names, most_symbols)
    bars = read_formula_bars(project.lakehouse, since, date.max, chosen)
    closes = pc.divide(bars["event_timestamp"].cast(pa.int64()), 1_000_000)
    return verify_lookahead(
        bars.drop_columns(["event_timestamp"]).append_column("close_timestamp", closes),
        computing(project.formulas.values() if formulas is None else formulas),
    )


def computing(formulas: Iterable[BarFormula]) -> Compute:
    """Return the function that computes some formulas, for :func:`verify_lookahead`."""
    wanted = tuple(formulas)
    return lambda bars: compute(bars, wanted)


def _names(lakehouse: Lakehouse, since: date) -> list[str]:
    """Return all symbols: on a Sunday the last dates have those of markets that never close."""
    names: set[str] = set()
    for part in list_parts(lakehouse, OHLCV_1D, since):
        names.update(pc.unique(read_part(part, OHLCV_1D, ["symbol"])["symbol"]).to_pylist())
    return sorted(names)


def spread(names: Sequence[str], most: int) -> list[str]:
    """Choose symbols of every exchange: as many of each, as far as it has them.

    Parameters
    ----------
    names
        Unified symbols, sorted.
    most
        How many to choose, at least 1. Of more exchanges than that, some have none.

    Returns
    -------
    list of str
        Sorted, equal for equal arguments; within an exchange evenly spaced.

    Examples
    --------
    >>> spread(["A:1", "A:2", "A:3", "A:4", "B:1"], 3)
    ['A:1', 'A:3', 'B:1']
    """
    of_exchange: dict[str, list[str]] = {}
    for name in names:
        of_exchange.setdefault(name.partition(":")[0], []).append(name)
    chosen: list[str] = []
    # The smallest first: what they leave over is shared by the larger ones.
    by_size = sorted(of_exchange.values(), key=len)
    for at, symbols in enumerate(_evenly(by_size, most)):
        left = min(len(by_size), most) - at
        chosen += _evenly(symbols, (most - len(chosen)) // left)
    return sorted(chosen)


def _evenly(items: Sequence[T], most: int) -> list[T]:
    count = min(len(items), most)
    return [items[at * len(items) // count] for at in range(count)]


def verify_lookahead(
    bars: pa.Table, compute: Compute = compute_local_features, cuts: int = 20, seed: int = 0
) -> LookaheadReport:
    """Recompute features on altered bars and compare what must not have changed.

    Parameters
    ----------
    bars
        What ``compute`` takes, in any order, unique on (``symbol``, ``timestamp``).
    compute
        The function to prove. Its result has the keys of its bars, sorted by them; every other
        column is a feature, and a double.
    cuts
        How often history is cut at random bars, another one in every symbol.
    seed
        Of the random choices.

    Returns
    -------
    LookaheadReport
        Equal for equal arguments.

    Raises
    ------
    InputError
        There are no bars, or fewer than one cut is asked for.
    ValueError
        ``compute`` does not give one row per bar.
    """
    if not bars.num_rows:
        raise InputError("no bars: there is nothing that a feature could be computed from")
    if cuts < 1:
        raise InputError(f"history must be cut at least once, not {cuts} times")
    # Sorting by dictionary codes would not be sorting by name.
    position = bars.column_names.index("symbol")
    bars = bars.set_column(position, "symbol", bars["symbol"].cast(pa.string()))
    bars = bars.sort_by([(name, "ascending") for name in KEYS])
    layout = _Layout.of(bars)
    whole = computed(compute, bars)
    features = tuple(name for name in whole.column_names if name not in KEYS)
    leaks: dict[str, Leak] = {}
    recomputations = compared = 0
    trials = _trials(bars, layout, cuts, np.random.default_rng(seed))
    total = 1 + LAST_BARS + cuts + OTHER_FUTURES + len(LATER_SPLITS) + 2 * (len(layout.lengths) > 1)
    for trial in watched(trials, "recomputations compared", total):
        if not len(trial.known):  # a lone bar that is cut off leaves nothing to compare
            continue
        expected = whole.take(pa.array(trial.known))
        again = computed(compute, trial.bars).take(pa.array(trial.found))
        for name in features:
            if name in leaks or not (found := first_difference(name, expected, again)):
                continue
            altered = np.ones(bars.num_rows, dtype=bool)
            altered[trial.known] = False
            smallest = smallest_case(compute, name, bars, found, np.flatnonzero(altered), seed)
            leaks[name] = Leak(name, *found, trial.change, smallest)
        recomputations += 1
        compared += len(trial.known)
    return LookaheadReport(
        features=features,
        bars=bars.num_rows,
        symbols=len(layout.lengths),
        exchanges=tuple(
            sorted({n.partition(":")[0] for n in pc.unique(bars["symbol"]).to_pylist()})
        ),
        recomputations=recomputations,
        rows_compared=compared,
        leaks=tuple(leaks[name] for name in features if name in leaks),
    )


@dataclass(frozen=True)
class _Layout:
    """Where the symbols of sorted bars are; arrays of shape ``(symbols,)``."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]

    @classmethod
    def of(cls, bars: pa.Table) -> _Layout:
        column = bars["symbol"].cast(pa.string()).combine_chunks()
        changes = pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
        starts = np.concatenate([[0], np.flatnonzero(changes) + 1])
        return cls(starts, np.diff(np.append(starts, len(column))))

    @property
    def position(self) -> NDArray[np.int64]:
        """For each row, the place of its bar in its symbol."""
        position: NDArray[np.int64] = np.arange(self.lengths.sum()) - self.per_row(self.starts)
        return position

    def draw(self, rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw a bar of each symbol; not its first one, unless it is the only one."""
        return rng.integers(np.minimum(1, self.lengths - 1), self.lengths)

    def per_row(self, per_symbol: NDArray[np.int64]) -> NDArray[np.int64]:
        """Repeat the value of each symbol for each of its bars."""
        return np.repeat(per_symbol, self.lengths)


@dataclass(frozen=True)
class _Trial:
    """Altered bars, and the rows that must be as they were."""

    change: str
    bars: pa.Table
    known: NDArray[np.int64]
    """Rows of the whole result that lie before the change."""
    found: NDArray[np.int64]
    """The same rows in the altered result."""


def _trials(
    bars: pa.Table, layout: _Layout, cuts: int, rng: np.random.Generator
) -> Iterator[_Trial]:
    # Unaltered bars first: a function that gives two results for the same bars proves nothing.
    yield _part(bars, np.ones(bars.num_rows, dtype=bool), "the same bars again")
    for back in range(1, LAST_BARS + 1):
        kept = layout.position < layout.per_row(layout.lengths - back)
        yield _part(bars, kept, f"each symbol's last {back} cut off")
    for _ in range(cuts):
        # Drawn for each symbol: another symbol's bars are cut where this one's are still there.
        kept = layout.position < layout.per_row(layout.draw(rng))
        yield _part(bars, kept, "history cut behind a random bar of each symbol")
    for _ in range(OTHER_FUTURES):
        after = layout.position >= layout.per_row(layout.draw(rng))
        known = np.flatnonzero(~after)
        altered = replaced(bars, invented(bars, rng), np.flatnonzero(after))
        yield _Trial("other prices, volumes and splits later", altered, known, known)
    for ratio in LATER_SPLITS:
        at = layout.per_row(layout.draw(rng))
        yield _later_split(bars, layout.position, at, ratio)
    if len(layout.lengths) > 1:
        half = layout.per_row(rng.permutation(len(layout.lengths)) % 2) == 0
        for kept in (half, ~half):
            yield _part(bars, kept, "half of the other symbols taken away")


def _part(bars: pa.Table, kept: NDArray[np.bool_], change: str) -> _Trial:
    known = np.flatnonzero(kept)
    return _Trial(change, bars.filter(pa.array(kept)), known, np.arange(len(known)))


def _later_split(
    bars: pa.Table, position: NDArray[np.int64], at: NDArray[np.int64], ratio: float
) -> _Trial:
    """Split every symbol at one of its bars, with prices and volumes as they would have traded."""
    after = position >= at
    columns = {name: bars[name] for name in bars.column_names}
    for name in ("open", "high", "low", "close"):
        if name in columns:
            prices = columns[name].to_numpy()
            columns[name] = pa.array(np.where(after, prices / ratio, prices))
    if "volume" in columns:
        volumes = columns["volume"].to_numpy()
        columns["volume"] = pa.array(np.where(after, volumes * ratio, volumes))
    given = columns.get("split_ratio")
    ratios = np.ones(len(position)) if given is None else given.to_numpy()
    columns["split_ratio"] = pa.array(np.where(position == at, ratios * ratio, ratios))
    known = np.flatnonzero(~after)
    return _Trial(f"a split {ratio:g} : 1 later", pa.table(columns), known, known)
