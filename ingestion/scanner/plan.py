"""What several tables need of one market: asked once, and split into the tables afterwards."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ingestion.base.errors import UnknownColumn
from ingestion.catalog import Column
from ingestion.scanner.snapshot import Snapshot
from ingestion.scanner.values import scanner_name

SERVED = frozenset(
    {
        *("name", "description", "exchange", "country", "currency", "timezone"),
        *("type", "typespecs", "sector", "industry", "pricescale", "minmov"),
        *("base_currency", "base_currency_desc", "base_currency_id", "update_mode"),
        *("TechRating_1D", "TechRating_1D.tr", "AnalystRating", "AnalystRating.tr"),
    }
)
"""Columns that recorded answers have, and recorded ``metainfo`` of some markets lacks."""


@dataclass(frozen=True)
class Table:
    """The columns of one table, and where they are declared."""

    name: str
    columns: tuple[Column, ...]
    market: str | None = None
    """The market whose rows it takes; None for what the run is about."""
    recent: frozenset[str] = frozenset()
    """Symbols that it needs no row of."""
    declared: str = "ingestion/catalog/"
    """The file, for an error."""

    def is_due(self, symbols: Iterable[str] | None) -> bool:
        """Return whether it needs a row of any of these symbols; of a market, it does."""
        return symbols is None or not self.recent.issuperset(symbols)


@dataclass(frozen=True)
class ScanPlan:
    """What is asked of one market, for several tables.

    Examples
    --------
    >>> bars = Table("bars", (Column("close"), Column("time", "timestamp")))
    >>> mine = Table("mine", (Column("RSI"), Column("close"), Column("odd", optional=True)))
    >>> plan = ScanPlan.of([bars, mine])
    >>> [column.name for column in plan.columns]
    ['close', 'time', 'RSI', 'odd']
    >>> plan.without("odd").unknown
    ('odd',)
    >>> snapshot = Snapshot(plan.without("odd").columns, {"NYSE:A": (71.5, 1_600_000_000, 48.0)})
    >>> plan.split(snapshot)["mine"].rows
    {'NYSE:A': (48.0, 71.5, None)}
    """

    tables: tuple[Table, ...]
    unknown: tuple[str, ...] = ()
    """Optional columns that the scanner does not know, by its names."""
    refused: Mapping[str, UnknownColumn] = field(default_factory=dict)
    """By table that cannot be had, the column that it lacks."""

    @classmethod
    def of(cls, tables: Iterable[Table], symbols: Collection[str] | None = None) -> ScanPlan:
        """Plan for the tables that need a row of these symbols."""
        return cls(tuple(table for table in tables if table.is_due(symbols)))

    @property
    def columns(self) -> tuple[Column, ...]:
        """What is asked: each distinct column once, those of the first table first."""
        needed = (each for table in self.tables for each in table.columns)
        return tuple(each for each in dict.fromkeys(needed) if self._is_known(each))

    def _is_known(self, column: Column) -> bool:
        return scanner_name(column) not in self.unknown

    @property
    def skipped(self) -> frozenset[str]:
        """Symbols that no table needs a row of."""
        return frozenset.intersection(*(table.recent for table in self.tables))

    def to_probe(self, listed: Collection[str] | None) -> list[str]:
        """Return the optional columns that may be unknown.

        Parameters
        ----------
        listed
            The columns of the market's ``metainfo``; None where it does not answer.
        """
        known = SERVED.union(listed or ())
        names = (scanner_name(each) for each in self.columns if each.optional)
        return [name for name in dict.fromkeys(names) if name not in known]

    def without(self, name: str) -> ScanPlan:
        """Return the plan without a column that the scanner does not know.

        Tables where it is optional have null there; those that need it are refused.
        """
        needing = [
            table
            for table in self.tables
            if any(scanner_name(each) == name and not each.optional for each in table.columns)
        ]
        errors = {table.name: UnknownColumn(name, table.declared) for table in needing}
        left = tuple(table for table in self.tables if table not in needing)
        return replace(
            self,
            tables=left,
            unknown=(*self.unknown, name),
            refused={**self.refused, **errors},
        )

    def split(self, snapshot: Snapshot) -> dict[str, Snapshot]:
        """Return each table's part of a snapshot, by its name, without what it needs no row of."""
        tables = {}
        for table in self.tables:
            names = set(map(scanner_name, table.columns))
            part = snapshot.table(table.columns)
            lacks = tuple(name for name in self.unknown if name in names)
            tables[table.name] = replace(part, unknown=lacks)
        return tables
