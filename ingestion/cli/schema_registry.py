"""The schema registry, generated from the catalog: ``python -m ingestion.cli.schema_registry``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta

from ingestion.catalog import Column, Dataset, FeatureGroup
from ingestion.project import Project

_PREFACE = """\
# Lakehouse schema registry

Generated from `feature_repo/groups/` and `ingestion/catalog/` by `make docs`; do not edit. A file
that is written now has all columns, in this order and with these types; an older one lacks those
that were added since ([evolution](reference/evolution.md)). Features may be null and are never NaN
or infinite. Rows of a file are sorted by the dataset's key. `date=` is a UTC date.
"""


def registry_markdown() -> str:
    """Return the whole document."""
    datasets = Project.from_environment().catalog.datasets
    lines = (line for dataset in datasets for line in _dataset(dataset))
    return "\n".join([_PREFACE, *lines]) + "\n"


def _dataset(dataset: Dataset) -> Iterator[str]:
    yield f"## {dataset.name}"
    yield ""
    yield f"{dataset.meaning[0].upper()}{dataset.meaning[1:]}."
    yield ""
    yield f"- path: `{dataset.storage}/date=YYYY-MM-DD/part-<n>.parquet`"
    yield f"- key: {', '.join(f'`{name}`' for name in dataset.key)}; `date=` of `{dataset.event}`"
    if isinstance(dataset, FeatureGroup):
        yield f"- time to live: {_days(dataset.ttl)}"
        if dataset.by_choice:
            yield "- runs in a project whose `groups.toml` lists it"
    yield ""
    yield "| column | type | null | unit | values | scanner column | meaning |"
    yield "|---|---|---|---|---|---|---|"
    yield from map(_row, dataset.columns)
    yield ""


def _row(column: Column) -> str:
    null = "yes" if column.nullable else "no"
    # A table's cell ends at a bar, and of a frame's columns the names have one.
    scanner = f"`{column.scanner}`".replace("|", r"\|") if column.scanner else ""
    cells = (
        f"`{column.name}`",
        column.dtype.value,
        null,
        column.unit,
        column.bounds,
        scanner,
        "(retired) " * column.retired + column.meaning + f"; {column.rules}" * bool(column.rules),
    )
    return f"| {' | '.join(cells)} |"


def _days(ttl: timedelta) -> str:
    return f"{ttl / timedelta(days=1):g} days, inclusive"


if __name__ == "__main__":
    sys.stdout.write(registry_markdown())
