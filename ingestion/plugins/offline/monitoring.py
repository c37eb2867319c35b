"""Feast's monitoring metrics: measured, and kept as Parquet in the repository.

``feast monitor run`` and the monitoring page of Feast's UI compute statistics of each feature by
day, week, month and quarter, and compare them with a baseline. An offline store keeps them: here
in the files in which Feast's DuckDB store keeps them, ``feast_monitoring/*.parquet``, so that a
repository may change from one store to the other and keep its history.

The numbers are those of Feast's own calculator, which accepts neither a NaN, nor an infinite value,
nor an integer that no float represents exactly: it would leave the whole view without metrics.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from feast import RepoConfig
from feast.data_source import DataSource
from feast.monitoring.metrics_calculator import MetricsCalculator
from feast.monitoring.monitoring_utils import (
    MONITORING_DIR,
    MONITORING_PARQUET_FILES,
    monitoring_parquet_meta,
    normalize_monitoring_row,
    opt_float,
)
from pyarrow import fs

from ingestion.base.columns import INSTANT, Column, read_columns
from ingestion.plugins.offline.declared import locate, stored_names
from ingestion.plugins.offline.fetch import FeatureTable
from ingestion.plugins.offline.files import Location
from ingestion.plugins.offline.queries import newest_event, rows_between, span
from ingestion.plugins.offline.source import ParquetSource
from ingestion.plugins.offline.writing import change

Row = dict[str, Any]

_AT_ONCE = 8  # columns in memory: of ten years of a market, each takes 200 MB
_QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}
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


def ensure_tables(config: RepoConfig) -> None:
    """Make the files of the metrics that are missing."""
    for kind in MONITORING_PARQUET_FILES:
        if not _path(config, kind).exists():
            _rewrite(config, kind, lambda rows: rows)


def save_metrics(config: RepoConfig, metric_type: str, metrics: list[Row]) -> None:
    """Keep metrics; one that has the key of a stored one takes its place.

    Parameters
    ----------
    metric_type
        ``feature``, ``feature_view``, ``feature_service`` or ``job``.
    """
    _, columns, key = monitoring_parquet_meta(metric_type)
    fresh = [{name: _value(name, row.get(name)) for name in columns} for row in metrics]

    def add(rows: list[Row]) -> list[Row]:
        by_key = {tuple(row[name] for name in key): row for row in (*rows, *fresh)}
        return list(by_key.values())

    if fresh:
        _rewrite(config, metric_type, add)


def query_metrics(
    config: RepoConfig,
    project: str | None,
    metric_type: str,
    filters: Row | None = None,
    start_date: date | None = None,
    end_date: date | None = None,
) -> list[Row]:
    """Return metrics by date, from ``start_date`` to ``end_date``, both included.

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
        for row in _read(_path(config, metric_type), metric_type)
        if all(row[name] == value for name, value in wanted.items())
        and (start_date is None or row["metric_date"] >= start_date)
        and (end_date is None or row["metric_date"] <= end_date)
    ]
    found.sort(key=lambda row: row["metric_date"] or date.min)
    return [normalize_monitoring_row(row) for row in found]


def clear_baseline(config: RepoConfig, project: str, **conditions: str | None) -> None:
    """Take the mark of a baseline from all rows of a project's features that meet the conditions.

    Parameters
    ----------
    conditions
        ``feature_view_name``, ``feature_name``, ``data_source_type``; None is no condition.
    """
    wanted = {name: value for name, value in conditions.items() if value is not None}
    wanted["project_id"] = project

    def unmark(rows: list[Row]) -> list[Row]:
        for row in rows:
            if all(row[name] == value for name, value in wanted.items()):
                row["is_baseline"] = False
        return rows

    _rewrite(config, "feature", unmark)


def _path(config: RepoConfig, kind: str) -> Path:
    folder: str = MONITORING_DIR
    name: str = MONITORING_PARQUET_FILES[kind]
    return Path(config.repo_path or ".").absolute() / folder / name


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
    columns = [Column(field.name, field.type) for field in _schema(kind)]
    with pq.ParquetFile(path) as file:
        table = read_columns(file, path, columns, lambda values, column: values.cast(column.type))
    rows: list[Row] = table.to_pylist()
    return rows


def _rewrite(config: RepoConfig, kind: str, changed: Callable[[list[Row]], list[Row]]) -> None:
    """Write a file anew while no other process does."""
    path = _path(config, kind)

    def table() -> pa.Table:
        return pa.Table.from_pylist(changed(_read(path, kind)), schema=_schema(kind))

    change(Location(fs.LocalFileSystem(), str(path), dated=False), table)


def compute_metrics(
    config: RepoConfig,
    data_source: DataSource,
    feature_columns: list[tuple[str, str]],
    timestamp_field: str,
    start_date: datetime | None = None,
    end_date: datetime | None = None,
    histogram_bins: int = 20,
    top_n: int = 10,
) -> list[Row]:
    """Measure features over the rows between two instants, both inclusive.

    Parameters
    ----------
    feature_columns
        The view's names, each with ``numeric`` or ``categorical``. One that no file has is null in
        all rows; lists and structs are left out.

    Returns
    -------
    list of dict
        As ``MetricsCalculator.compute_all`` gives them.
    """
    calculator, stored = MetricsCalculator(histogram_bins, top_n), stored_names(data_source)
    table, between = (
        _events(config, data_source, timestamp_field),
        span(start_date, end_date, nulls=True),
    )
    metrics = []
    for first in range(0, len(feature_columns), _AT_ONCE):
        some = feature_columns[first : first + _AT_ONCE]
        columns = dict.fromkeys(Column(stored.get(name, name), None) for name, _ in some)
        asked = replace(table, features=tuple(columns))
        rows = rows_between(asked, between, refuse_unknown=False)
        for name, kind in some:
            values = rows[stored.get(name, name)]
            if pa.types.is_nested(values.type):  # Feast goes by the type of a list's items
                continue
            if kind == "numeric":
                metric = _numbers(values, calculator)
            else:
                metric = calculator.compute_categorical(values)
            metrics.append(metric | {"feature_name": name})
    return metrics


def max_timestamp(
    config: RepoConfig, data_source: DataSource, timestamp_field: str
) -> datetime | None:
    """Return a source's newest event; None if it has none."""
    return newest_event(_events(config, data_source, timestamp_field))


def _events(config: RepoConfig, source: DataSource, event: str) -> FeatureTable:
    """Return a source without features; ``event`` is the view's name of its event time."""
    event = stored_names(source).get(event, event)
    files = ParquetSource(locate(source, config.repo_path), event)
    return FeatureTable(files, (), Column(event, INSTANT, True), None, ())


def _numbers(column: pa.ChunkedArray, calculator: MetricsCalculator) -> dict[str, Any]:
    """Measure numbers: a NaN is a null; what infinite values leave without a number is None."""
    column = column.cast(pa.float64(), safe=False)
    column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    values = column.drop_null()
    finite = values.filter(pc.is_finite(values))
    metric: dict[str, Any] = calculator.compute_numeric(finite)
    metric["row_count"], metric["null_count"] = len(column), column.null_count
    metric["null_rate"] = column.null_count / len(column) if len(column) else 0.0
    if len(finite) < len(values):
        ends = pc.min_max(values).as_py()
        quantiles = pc.quantile(values, q=list(_QUANTILES.values())).to_pylist()
        metric |= {"mean": None, "stddev": None}
        metric |= {"min_val": opt_float(ends["min"]), "max_val": opt_float(ends["max"])}
        metric |= dict(zip(_QUANTILES, map(opt_float, quantiles), strict=True))
    return metric
