"""The Great Expectations suites of a feature group, derived from the catalog.

Two suites a batch: one over the rows themselves, one over a table of one row that holds the batch's
figures. Each expectation carries in its ``meta`` the name of its check and what it stops. Great
Expectations takes seconds to import, and pandas half of one, so only functions import them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from ingestion.catalog import Dtype, FeatureGroup
from ingestion.lakehouse import arrow_schema
from ingestion.quality.figures import Figure, Skipped
from ingestion.quality.rows import Numbers, numbers, residual
from ingestion.quality.rules import Before, Holds, Level, Present, Rule, Unique, Within, row_rules

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.expectations import Expectation

_PANDAS_TYPES = {
    Dtype.INT64: "int64",
    Dtype.STRING: "str",
    Dtype.BOOL: "bool",
    Dtype.DOUBLE: "float64",
    Dtype.TIMESTAMP: "Timestamp",
}


def structure(group: FeatureGroup, derived: Sequence[str] = ()) -> list[Expectation]:
    """Return what must hold before a row can be judged: columns, their order and types.

    Parameters
    ----------
    derived
        Columns that the frame has behind the group's own.
    """
    from great_expectations import expectations as gxe

    names = [*(column.name for column in group.columns), *derived]
    return [
        gxe.ExpectTableColumnsToMatchOrderedList(
            column_list=names, meta=_meta("columns", Level.BATCH)
        ),
        *(
            gxe.ExpectColumnValuesToBeOfType(
                column=column.name,
                type_=_PANDAS_TYPES[column.dtype],
                meta=_meta(f"{column.name} type", Level.BATCH),
            )
            for column in group.columns
        ),
    ]


def row_expectations(group: FeatureGroup) -> list[Expectation]:
    """Return what each row must hold."""
    return [_expectation(rule) for rule in row_rules(group)]


def null_shares(group: FeatureGroup, rows: int) -> Iterator[Expectation | Skipped]:
    """Return how many rows may lack each feature."""
    from great_expectations import expectations as gxe

    quality = group.quality
    for column in group.served:
        limit = quality.max_null_share.of(column.name)
        check = f"{column.name} null share"
        if limit is None:
            continue
        if rows < quality.judged_from:
            yield Skipped(check, f"{rows} rows, judged from {quality.judged_from}")
            continue
        yield gxe.ExpectColumnValuesToNotBeNull(
            column=column.name, mostly=1 - limit, meta=_meta(check, Level.BATCH)
        )


def figure_expectations(figures: Iterable[Figure]) -> list[Expectation]:
    """Return the limits of figures, as bounds of their columns in :func:`figure_frame`."""
    from great_expectations import expectations as gxe

    return [
        gxe.ExpectColumnValuesToBeBetween(
            column=figure.check,
            min_value=figure.low,
            max_value=figure.high,
            meta=_meta(figure.check, Level.BATCH),
        )
        for figure in figures
    ]


def row_frame(group: FeatureGroup, rows: pa.Table) -> pd.DataFrame:
    """Return rows as a frame that :func:`row_expectations` can judge, indexed from 0.

    Null is NaN in pandas, and NaN would pass for null: here it is an infinity, which no bound lets
    pass. The residual of each identity is a column of its own.
    """
    columns = {name: _cells(rows, name) for name in rows.column_names}
    for rule in _identities(group):
        columns[rule.check] = _with_nan_for_null(residual(rows, rule))
    return _frame(columns)


def derived_columns(group: FeatureGroup) -> list[str]:
    """Return the columns that :func:`row_frame` adds."""
    return [rule.check for rule in _identities(group)]


def structure_frame(rows: pa.Table) -> pd.DataFrame:
    """Return rows as a frame that :func:`structure` can judge."""
    return _frame({name: _cells(rows, name) for name in rows.column_names})


def figure_frame(figures: Iterable[Figure]) -> pd.DataFrame:
    """Return figures as a table of one row."""
    return _frame({figure.check: [figure.value] for figure in figures})


def is_well_formed(group: FeatureGroup, rows: pa.Table) -> bool:
    """Tell whether the rows can be judged one by one."""
    return bool(rows.schema.equals(arrow_schema(group)))


def _identities(group: FeatureGroup) -> list[Holds]:
    return [rule for rule in row_rules(group) if isinstance(rule, Holds)]


def _meta(check: str, level: Level) -> dict[str, str]:
    return {"check": check, "level": level.value}


def _expectation(rule: Rule) -> Expectation:
    from great_expectations import expectations as gxe

    meta = _meta(rule.check, Level.ROW)
    match rule:
        case Present(column):
            return gxe.ExpectColumnValuesToNotBeNull(column=column, meta=meta)
        case Within(column, low, high):
            return gxe.ExpectColumnValuesToBeBetween(
                column=column, min_value=low, max_value=high, meta=meta
            )
        case Holds(_, _, tolerance):
            return gxe.ExpectColumnValuesToBeBetween(
                column=rule.check, min_value=-tolerance, max_value=tolerance, meta=meta
            )
        case Before(earlier, later):
            return gxe.ExpectColumnPairValuesAToBeGreaterThanB(
                column_A=later,
                column_B=earlier,
                ignore_row_if="either_value_is_missing",
                meta=meta,
            )
        case Unique(columns):
            return gxe.ExpectCompoundColumnsToBeUnique(
                column_list=list(columns), ignore_row_if="never", meta=meta
            )


def _frame(columns: Mapping[str, object]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(columns)


def _cells(rows: pa.Table, name: str) -> object:
    if pa.types.is_float64(rows[name].type):
        return _with_nan_for_null(numbers(rows, name))
    return rows[name].to_pandas()


def _with_nan_for_null(column: Numbers) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    values = np.where(np.isnan(column.values), np.inf, column.values)
    return np.where(column.valid, values, np.nan)
