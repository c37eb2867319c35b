"""Feast's monitoring metrics, kept as Parquet in the repository.

``feast monitor run`` and the monitoring page of Feast's UI compute statistics of each feature by
day, week, month and quarter, and compare them with a baseline. An offline store keeps them: here
in the files in which Feast's DuckDB store keeps them, ``feast_monitoring/*.parquet``, so that a
repository may change from one store to the other and keep its history.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from feast.monitoring.monitoring_utils import (
    MONITORING_DIR,
    MONITORING_PARQUET_FILES,
    monitoring_parquet_meta,
    normalize_monitoring_row,
)
from pyarrow import fs

from ingestion.base.columns import INSTANT
from ingestion.plugins.offline.files import Location
from ingestion.plugins.offline.writing import change

Row = dict[str, Any]

_COUNTS = frozenset(
    {
        *("row_count", "null_count", "total_row_count"),
        *("total_features", "total_feature_views", "features_with_nulls"),
    }
)
_FRACTIONS = frozenset(
    {
        *("null_rate", "avg_null_rate", "max_null_rate"),
        *("mean", "stddev", "min_val", "max_val", "p50", "p75", "p90", "p95", "p99"),
    }
)
_INSTANTS = frozenset({"computed_at", "max_event_timestamp", "started_at", "completed_at"})


def make_tables(repo_path: Path | str | None) -> None:
    """Make the files that are missing."""
    for kind in MONITORING_PARQUET_FILES:
        path = _path(repo_path, kind)
        if not path.exists():
            _rewrite(repo_path, kind, lambda rows: rows)


def save_metrics(repo_path: Path | str | None, kind: str, metrics: Iterable[Row]) -> None:
    """Add rows; one that has the key of a stored row takes its place.

    Parameters
    ----------
    kind
        ``feature``, ``feature_view``, ``feature_service`` or ``job``.
    """
    _, columns, key = monitoring_parquet_meta(kind)
    fresh = [{name: _value(name, row.get(name)) for name in columns} for row in metrics]

    def add(rows: list[Row]) -> list[Row]:
        by_key = {tuple(row[name] for name in key): row for row in (*rows, *fresh)}
        return list(by_key.values())

    if fresh:
        _rewrite(repo_path, kind, add)


def query_metrics(
    repo_path: Path | str | None,
    kind: str,
    project: str | None,
    filters: Row | None = None,
    start: date | None = None,
    end: date | None = None,
) -> list[Row]:
    """Return the rows of a project by date, from ``start`` to ``end``, both included.

    Parameters
    ----------
    project
        Empty or None for all projects.
    filters
        Column to value; a value of None is no condition.
    """
    wanted = {name: value for name, value in (filters or {}).items() if value is not None}
    if project:
        wanted["project_id"] = project
    found = [
        row
        for row in _read(_path(repo_path, kind), kind)
        if all(row[name] == value for name, value in wanted.items())
        and (start is None or row["metric_date"] >= start)
        and (end is None or row["metric_date"] <= end)
    ]
    found.sort(key=lambda row: row["metric_date"] or date.min)
    return [normalize_monitoring_row(row) for row in found]


def clear_baseline(repo_path: Path | str | None, **conditions: str | None) -> None:
    """Take the mark of a baseline from all rows of features that meet the conditions."""
    wanted = {name: value for name, value in conditions.items() if value is not None}

    def unmark(rows: list[Row]) -> list[Row]:
        for row in rows:
            if all(row[name] == value for name, value in wanted.items()):
                row["is_baseline"] = False
        return rows

    _rewrite(repo_path, "feature", unmark)


def _path(repo_path: Path | str | None, kind: str) -> Path:
    folder: str = MONITORING_DIR
    name: str = MONITORING_PARQUET_FILES[kind]
    return Path(repo_path or ".").absolute() / folder / name


def _schema(kind: str) -> pa.Schema:
    return pa.schema([(name, _type(name)) for name in monitoring_parquet_meta(kind)[1]])


def _type(column: str) -> pa.DataType:
    if column in _COUNTS:
        return pa.int64()
    if column in _FRACTIONS:
        return pa.float64()
    if column in _INSTANTS:
        return INSTANT
    return {"metric_date": pa.date32(), "is_baseline": pa.bool_()}.get(column, pa.string())


def _value(column: str, value: Any) -> Any:
    """Return a value as it is stored: Feast gives back what it was given as text, too."""
    if value is None:
        return None
    if column == "metric_date" and isinstance(value, str):
        return date.fromisoformat(value)
    if column in _INSTANTS:
        return pa.scalar(value).cast(INSTANT).as_py()
    if _type(column) == pa.string() and not isinstance(value, str):
        return json.dumps(value)
    return value


def _read(path: Path, kind: str) -> list[Row]:
    if not path.exists():
        return []
    with path.open("rb") as file:
        table = pq.ParquetFile(file).read()
    columns = {
        field.name: table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in _schema(kind)
    }
    rows: list[Row] = pa.table(columns).to_pylist()
    return rows


def _rewrite(
    repo_path: Path | str | None, kind: str, changed: Callable[[list[Row]], list[Row]]
) -> None:
    """Write a file anew while no other process does."""
    path = _path(repo_path, kind)
    location = Location(fs.LocalFileSystem(), str(path), dated=False)

    def table() -> pa.Table:
        return pa.Table.from_pylist(changed(_read(path, kind)), schema=_schema(kind))

    change(location, table)
