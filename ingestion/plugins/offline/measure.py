"""What Feast's monitoring wants to know of columns: counts, moments, quantiles, histograms.

The numbers are those of Feast's own calculator, which takes neither a NaN, nor an infinite value,
nor an integer that no float holds exactly: it would leave the whole view without metrics.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from feast.monitoring.metrics_calculator import MetricsCalculator
from feast.monitoring.monitoring_utils import opt_float

from ingestion.base.columns import Column
from ingestion.plugins.offline.files import Span
from ingestion.plugins.offline.latest import rows_between
from ingestion.plugins.offline.table import FeatureTable

_AT_ONCE = 8  # columns in memory: of ten years of a market, each takes 200 MB
_QUANTILES = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def measure(
    table: FeatureTable,
    features: Mapping[str, tuple[str, str]],
    span: Span,
    calculator: MetricsCalculator,
) -> list[dict[str, Any]]:
    """Measure features over the rows whose events are within a span.

    Parameters
    ----------
    table
        The source; which features it names does not matter.
    features
        By the view's name: the name in the files, and ``numeric`` or ``categorical``. One that no
        file has is null in all rows; lists and structs are left out.

    Returns
    -------
    list of dict
        As ``MetricsCalculator.compute_all`` gives them.
    """
    metrics = []
    names = list(features)
    for first in range(0, len(names), _AT_ONCE):
        some = {name: features[name] for name in names[first : first + _AT_ONCE]}
        columns = dict.fromkeys(stored for stored, _ in some.values())
        asked = replace(table, features=tuple(Column(stored, None) for stored in columns))
        rows = rows_between(asked, span, refuse_unknown=False)
        for name, (stored, kind) in some.items():
            if pa.types.is_nested(rows[stored].type):  # Feast goes by the type of a list's items
                continue
            of_kind = _numbers if kind == "numeric" else _categories
            metrics.append(of_kind(rows[stored], calculator) | {"feature_name": name})
    return metrics


def _categories(column: pa.ChunkedArray, calculator: MetricsCalculator) -> dict[str, Any]:
    metric: dict[str, Any] = calculator.compute_categorical(column)
    return metric


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
