"""Rows that others computed, from CSV and Parquet files into a group of :class:`Files`."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from ingestion.base import clock
from ingestion.base.clock import parse_instant
from ingestion.base.errors import InputError
from ingestion.base.plain import plain
from ingestion.base.wording import counted
from ingestion.catalog import Column, Dtype, FeatureGroup, Files
from ingestion.jobs.compute.changes import changes_of
from ingestion.lakehouse import Part, RunFile, append_parts, arrow_schema, by_date, list_parts
from ingestion.lakehouse.writer import created_after, created_at
from ingestion.markets.symbols import symbol_problem
from ingestion.project import Project
from ingestion.quality.gate import screen, write_quarantine
from ingestion.runs.run import Run

NAMED = 20
"""How many refused rows the result names."""
_KEYS = ("symbol", "event_timestamp")
_MICROSECOND = 1_000_000

Row = dict[str, Any]


@dataclass(frozen=True)
class ImportFeaturesResult:
    """What became of the rows."""

    SHOWN: ClassVar = ("verdict",)

    group: str
    read: int
    written: int
    unchanged: int
    """Rows that are stored already, value by value."""
    quarantined: int
    """Rows that break a rule of the group; ``quarantine.parquet`` of the run has them."""
    refused: int
    refused_by_reason: Mapping[str, int]
    refused_rows: tuple[str, ...]
    """The first of them: file, row and why."""
    ignored_columns: tuple[str, ...]
    """Columns of the files that the group has not."""
    receipt: RunFile
    parts: tuple[Part, ...] = field(default=(), repr=False)

    @property
    def verdict(self) -> str:
        """Whether all rows were taken."""
        return "done" if self.refusal is None else "refused"

    @property
    def refusal(self) -> str | None:
        """How many rows were not taken, and the first reason; None if all were."""
        lost = self.refused + self.quarantined
        if not lost:
            return None
        first = self.refused_rows[0] if self.refused_rows else "the quarantine has them"
        return (
            f"{lost:,} of {counted(self.read, 'row was', 'rows were')} not taken: "
            f"{first}; see {self.receipt}"
        )


def import_features(project: Project, name: str, files: Sequence[Path]) -> ImportFeaturesResult:
    """Append the rows of files to a group; good rows are stored whatever the others are.

    A row that is stored already is written again only if a value differs. Rows that break a bound
    or another rule of the group go to quarantine.

    Raises
    ------
    InputError
        If the group takes no files, or a file cannot be read or lacks a column.
    LakehouseLocked
        If another run is writing.
    """
    group = project.catalog.group(name)
    if not isinstance(group.source, Files):
        raise InputError(
            f"the rows of {group.name} do not come from files: `tvfeast {group.source.command}` "
            "brings them; a group of files is declared with source=Files()"
        )
    request = {"group": group.name, "files": [str(file) for file in files]}
    with Run.open(
        project, "import-features", request, file=f"import_features.{group.name}.json"
    ) as run:
        run.tell(group=group.name)
        now = clock.now()
        rows: dict[tuple[str, int], Row] = {}
        refused: list[tuple[str, str]] = []
        ignored: dict[str, None] = {}
        read = 0
        for file in files:
            table, ragged = _read(file, group)
            read += len(ragged)
            refused += [
                (f"{file}, a line of {text}", "it has another number of cells") for text in ragged
            ]
            names = [*_KEYS, *(each.name for each in group.features), "bar_timestamp"]
            ignored |= dict.fromkeys(each for each in table.column_names if each not in names)
            for number, row in enumerate(table.to_pylist(), start=1):
                read += 1
                try:
                    _take(_parsed(group, row, now), rows)
                except ValueError as error:
                    refused.append((f"{file}, row {number}", str(error)))
        parts, counts = _publish(project, group, rows, now, run)
        result = ImportFeaturesResult(
            group=group.name,
            read=read,
            refused=len(refused),
            refused_by_reason=dict(Counter(why for _, why in refused)),
            refused_rows=tuple(f"{where}: {why}" for where, why in refused[:NAMED]),
            ignored_columns=tuple(ignored),
            receipt=run.receipt,
            parts=tuple(parts),
            **counts,
        )
        run.tell(**plain({k: v for k, v in vars(result).items() if k not in ("parts", "receipt")}))
    return result


def _publish(
    project: Project,
    group: FeatureGroup,
    rows: Mapping[tuple[str, int], Row],
    now: datetime,
    run: Run,
) -> tuple[list[Part], dict[str, int]]:
    stored = by_date(list_parts(project.lakehouse, group))
    of_day: dict[date, list[Row]] = {}
    for row in rows.values():
        of_day.setdefault(row["event_timestamp"].date(), []).append(row)
    tables: list[pa.Table] = []
    counts = {"written": 0, "unchanged": 0, "quarantined": 0}
    schema = arrow_schema(group)
    for day in sorted(of_day):
        table = pa.Table.from_pylist(
            [{**row, "created_timestamp": now} for row in of_day[day]], schema
        )
        parted = screen(group, table)
        write_quarantine(project.lakehouse, group, parted.quarantined, run.id)
        changes = changes_of(group, parted.accepted, stored.get(day, []))
        counts["quarantined"] += parted.quarantined.num_rows
        counts["unchanged"] += parted.accepted.num_rows - changes.rows.num_rows
        counts["written"] += changes.rows.num_rows
        if changes.rows.num_rows:
            tables.append(created_at(changes.rows, created_after(clock.now(), changes.newest)))
    parts = append_parts(project.lakehouse, group, tables, run.id) if tables else []
    return parts, counts


def _take(row: Row, rows: dict[tuple[str, int], Row]) -> None:
    before = rows.setdefault((row["symbol"], row["timestamp"]), row)
    if before != row:
        raise ValueError("another row of the files has this symbol and time, with other values")


def _parsed(group: FeatureGroup, row: Mapping[str, Any], now: datetime) -> Row:
    """Return a row of a file in the group's types.

    Raises
    ------
    ValueError
        If something of it cannot be used: what.
    """
    symbol = row["symbol"]
    if problem := symbol_problem(symbol):
        raise ValueError(problem)
    event = _instant("event_timestamp", row["event_timestamp"])
    if event is None:
        raise ValueError("event_timestamp is empty")
    if event > now:
        raise ValueError("event_timestamp is in the future")
    if event.microsecond:
        raise ValueError("event_timestamp has a fraction of a second: write whole seconds")
    opened = _instant("bar_timestamp", row.get("bar_timestamp"))
    values = {
        each.name: None if each.retired else _READERS[each.dtype](each, row.get(each.name))
        for each in group.features
    }
    stamps = {"event_timestamp": event, "bar_timestamp": opened}
    return {"symbol": symbol, "timestamp": int(event.timestamp()), **values, **stamps}


def _number(column: Column, value: Any) -> float | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError(f"{column.name} is no number")
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise ValueError(f"{column.name} is no number") from None
    if math.isinf(number):
        raise ValueError(f"{column.name} is infinite")
    return None if math.isnan(number) else number


def _whole(column: Column, value: Any) -> int | None:
    number = _number(column, value)
    if number is not None and (not number.is_integer() or abs(number) >= 2**53):
        raise ValueError(f"{column.name} is no whole number")
    return None if number is None else int(number)


def _truth(column: Column, value: Any) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    found = {"true": True, "false": False, "": None}.get(str(value).lower(), "")
    if isinstance(found, str):
        raise ValueError(f"{column.name} is neither true nor false")
    return found


def _text(column: Column, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or (column.values and value not in column.values):
        allowed = f": {', '.join(column.values)}" if column.values else ""
        raise ValueError(f"{column.name} is none of its texts{allowed}")
    return value


def _instant(name: str, value: Any) -> datetime | None:
    if value is None or value == "":
        return None
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
    if isinstance(value, str) and ":" not in value:
        raise ValueError(
            f"{name} has no time of day: when the values were known, as 2026-01-16T21:30Z"
        )
    try:
        return parse_instant(value)
    except (ValueError, TypeError, InputError):
        raise ValueError(f"{name} is not an ISO 8601 time such as 2026-01-16T21:30Z") from None


_READERS: dict[Dtype, Callable[[Column, Any], Any]] = {
    Dtype.DOUBLE: _number,
    Dtype.INT64: _whole,
    Dtype.BOOL: _truth,
    Dtype.STRING: _text,
    Dtype.TIMESTAMP: lambda column, value: _instant(column.name, value),
}


def _read(file: Path, group: FeatureGroup) -> tuple[pa.Table, list[str]]:
    """Read a file; the cells of a CSV are texts. Returns its lines of another width, too."""
    ragged: list[str] = []

    def skip(row: pacsv.InvalidRow) -> str:
        ragged.append(repr(row.text[:40]))
        return "skip"

    try:
        if file.suffix.lower() == ".parquet":
            table = pq.read_table(file)
        else:
            parse = pacsv.ParseOptions(invalid_row_handler=skip)
            with pacsv.open_csv(file, parse_options=parse) as reader:
                texts = dict.fromkeys(reader.schema.names, pa.string())
            ragged.clear()
            options = pacsv.ConvertOptions(column_types=texts, strings_can_be_null=False)
            table = pacsv.read_csv(file, parse_options=parse, convert_options=options)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(f"{file} cannot be read: {' '.join(str(error).split())}") from None
    lacking = list(_lacking(table.column_names, group))
    if lacking:
        raise InputError(
            f"{file} has no column {lacking[0]}; it has {', '.join(table.column_names)}"
        )
    return table, ragged


def _lacking(names: Sequence[str], group: FeatureGroup) -> Iterator[str]:
    needed = (each.name for each in group.features if not (each.optional or each.retired))
    yield from (name for name in (*_KEYS, *needed) if name not in names)
