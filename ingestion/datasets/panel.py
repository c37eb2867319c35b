"""Features of many symbols at many decisions, as they were known then; no Feast, no label file.

The search is the offline store's own (:mod:`ingestion.plugins.offline.join`), a slice of questions
at a time: of the lakehouse each slice reads the dates that it needs, and only one slice is in
memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from ingestion.base import columns
from ingestion.base.arrow import has_value
from ingestion.base.columns import INSTANT
from ingestion.base.instants import to_micros
from ingestion.catalog import FeatureGroup
from ingestion.datasets.questions import SLICE, Questions, Slice
from ingestion.lakehouse import Lakehouse, arrow_schema
from ingestion.plugins.offline.fetch import FeatureTable
from ingestion.plugins.offline.files import location_of
from ingestion.plugins.offline.key_codes import KeyCodes
from ingestion.plugins.offline.queries import point_in_time
from ingestion.plugins.offline.source import ParquetSource
from ingestion.plugins.offline.sweep import decisions_of


@dataclass(frozen=True)
class Features:
    """Features of one group, and what the answer calls them."""

    group: FeatureGroup
    outputs: Mapping[str, str]
    """By the feature's name, its column."""


@dataclass
class Counts:
    """What became of the questions so far."""

    rows: int = 0
    matched: int = 0
    """Rows with at least one value."""
    created_later: dict[str, int] = field(default_factory=dict)
    """By group, the rows whose values were written after their decision."""


def features_of(named: Sequence[tuple[FeatureGroup, str]]) -> list[Features]:
    """Name the columns of an answer: plain names, or all with their group if two would be equal.

    Examples
    --------
    >>> from ingestion.catalog import Column, Scanner
    >>> one, two = (
    ...     FeatureGroup(name=n, meaning="…", source=Scanner(), ttl="4d", features=[Column("RSI")])
    ...     for n in ("one_1d", "two_1d")
    ... )
    >>> [dict(each.outputs) for each in features_of([(one, "RSI"), (two, "RSI")])]
    [{'RSI': 'one_1d__RSI'}, {'RSI': 'two_1d__RSI'}]
    """
    full = len({name for _, name in named}) < len(named)
    return by_group((g, name, f"{g.name}__{name}" if full else name) for g, name in named)


def by_group(named: Iterable[tuple[FeatureGroup, str, str]]) -> list[Features]:
    """Put features together by group; each is given with its name and that of its column.

    Examples
    --------
    >>> from ingestion.catalog import Column, Scanner
    >>> group = FeatureGroup(
    ...     name="one_1d", meaning="…", source=Scanner(), ttl="4d", features=[Column("RSI")]
    ... )
    >>> [dict(each.outputs) for each in by_group([(group, "RSI", "rsi"), (group, "ADX", "adx")])]
    [{'RSI': 'rsi', 'ADX': 'adx'}]
    """
    groups: dict[str, FeatureGroup] = {}
    outputs: dict[str, dict[str, str]] = {}
    for group, name, column in named:
        groups[group.name] = group
        outputs.setdefault(group.name, {})[name] = column
    return [Features(groups[name], of_group) for name, of_group in outputs.items()]


def panel(
    lakehouse: Lakehouse,
    features: Sequence[Features],
    questions: Questions,
    *,
    known_at: datetime | None = None,
    as_recorded: bool = False,
    only_with_values: bool = False,
    size: int = SLICE,
    counts: Counts | None = None,
) -> Iterator[pa.Table]:
    """Yield the features of each member at each decision, in the order of time.

    Parameters
    ----------
    known_at
        Rows of the lakehouse that were created later are not there; None for all.
    as_recorded
        Whether a row counts only from when it was written, not from when it was knowable.
    only_with_values
        Whether rows without any value are left out.
    size
        About how many rows a table has.
    counts
        Takes down what became of the questions.

    Yields
    ------
    pa.Table
        ``symbol``, ``event_timestamp`` (the decision) and the features, sorted by decision and
        symbol. A feature that was not known then, or whose row was older than its TTL, is null.

    Raises
    ------
    CorruptPart
        If a part cannot be read.

    Examples
    --------
    >>> from datetime import date
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from ingestion.catalog import Column, Files
    >>> from ingestion.datasets import Schedule, Universe
    >>> from ingestion.lakehouse import LocalDisk, append_rows
    >>> group = FeatureGroup(
    ...     name="mine", meaning="…", source=Files(), ttl="4d", features=[Column("RSI")]
    ... )
    >>> friday = datetime.fromisoformat("2021-03-05T21:00Z")
    >>> row = {"symbol": "NYSE:KO", "timestamp": 1_614_956_400, "RSI": 61.5}
    >>> row |= dict.fromkeys(("event_timestamp", "created_timestamp"), friday)
    >>> week = Schedule(date(2021, 3, 4), date(2021, 3, 5))
    >>> asked = Questions(pa.array(["NYSE:KO"]), week, Universe.fixed(["NYSE:KO"]), until=2**62)
    >>> with TemporaryDirectory() as folder:
    ...     lakehouse = LocalDisk(Path(folder))
    ...     _ = append_rows(lakehouse, group, [row], "run")
    ...     tables = list(panel(lakehouse, features_of([(group, "RSI")]), asked))
    >>> tables[0]["RSI"].to_pylist()  # on Thursday it was not known yet
    [None, 61.5]
    """
    counts = counts if counts is not None else Counts()
    slices = questions.slices(size)
    for rows in answers(
        lakehouse, features, slices, known_at=known_at, as_recorded=as_recorded, counts=counts
    ):
        there = has_value(rows.drop_columns(["symbol", "event_timestamp"]))
        matched = pc.sum(there).as_py() or 0
        if only_with_values and matched < rows.num_rows:  # to keep all takes a copy of all
            rows = rows.filter(there)
        counts.matched += matched
        counts.rows += rows.num_rows
        if rows.num_rows:
            yield rows


def answers(
    lakehouse: Lakehouse,
    features: Sequence[Features],
    slices: Iterable[Slice],
    *,
    known_at: datetime | None = None,
    as_recorded: bool = False,
    counts: Counts | None = None,
) -> Iterator[pa.Table]:
    """Yield for each slice its keys and the features, a row for each question in its order.

    Parameters and errors as of :func:`panel`, which has an example.

    Examples
    --------
    >>> from pathlib import Path
    >>> from ingestion.lakehouse import LocalDisk
    >>> list(answers(LocalDisk(Path("nowhere")), [], []))
    []
    """
    counts = counts if counts is not None else Counts()
    tables = [_table(lakehouse, each, known_at) for each in features]
    for asked in slices:
        yield _answered(asked, features, tables, as_recorded, counts)


def schema_of(features: Sequence[Features]) -> pa.Schema:
    """Return the columns of a panel.

    Examples
    --------
    >>> from ingestion.catalog import Column, Files
    >>> group = FeatureGroup(
    ...     name="mine", meaning="…", source=Files(), ttl="4d", features=[Column("RSI")]
    ... )
    >>> schema_of(features_of([(group, "RSI")])).names
    ['symbol', 'event_timestamp', 'RSI']
    """
    keys = [("symbol", pa.string()), ("event_timestamp", INSTANT)]
    stored = [(each, arrow_schema(each.group)) for each in features]
    return pa.schema(
        keys + [(out, of.field(n).type) for each, of in stored for n, out in each.outputs.items()]
    )


def _answered(
    asked: Slice,
    features: Sequence[Features],
    tables: Sequence[FeatureTable],
    as_recorded: bool,
    counts: Counts,
) -> pa.Table:
    keys = KeyCodes([asked.symbols], len(asked.codes))
    instants = decisions_of(asked.instants)
    answer = asked.keys()
    for each, table in zip(features, tables, strict=True):
        ttl = to_micros(each.group.ttl)
        history = point_in_time(
            table, keys, instants, ttl=ttl, as_recorded=as_recorded, read_once=True
        )
        answer |= zip(each.outputs.values(), history.columns, strict=True)
        name, later = each.group.name, history.created_later or 0
        counts.created_later[name] = counts.created_later.get(name, 0) + later
    return pa.table(answer)


def _table(lakehouse: Lakehouse, features: Features, known_at: datetime | None) -> FeatureTable:
    """Describe a group's parts to the join."""
    group, types = features.group, arrow_schema(features.group)
    place = location_of(lakehouse.location(group.storage))
    return FeatureTable(
        source=ParquetSource(replace(place, dated=True), group.event),
        keys=(columns.Column("symbol", pa.string(), True),),
        event=columns.Column(group.event, INSTANT, True),
        created=columns.Column("created_timestamp", INSTANT),
        features=tuple(columns.Column(name, types.field(name).type) for name in features.outputs),
        known_at=None if known_at is None else to_micros(known_at),
    )
