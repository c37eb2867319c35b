"""Where the rows of a data set come from: definitions, parts and their hashes, code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from ingestion.base import clock
from ingestion.base.plain import plain
from ingestion.catalog import Catalog, Dataset, FeatureGroup, FromBars
from ingestion.datasets import Features
from ingestion.lakehouse import Lakehouse, list_parts
from ingestion.lakehouse.ledger import Ledger
from ingestion.project import Project
from ingestion.runs.run import catalog_hash, code_version

Span = tuple[Dataset, date, date]
"""A dataset, and the partition dates of it that are read, both included."""


def origin(project: Project, run_id: str, features: Sequence[Features]) -> dict[str, Any]:
    """Return who made a data set, with what code, and what its features are."""
    return {
        "run_id": run_id,
        "made_at": clock.now().isoformat(),
        "code": code_version(),
        "catalog_sha256": catalog_hash(project.catalog),
        "features": feature_definitions(project, features),
    }


def feature_definitions(project: Project, features: Sequence[Features]) -> list[dict[str, str]]:
    """Return each feature with its column and a hash that differs if it means something else.

    The hash is of the declaration and of its group's source and TTL; of a formula also of what it
    computes (:func:`~ingestion.formulas.definition_marks`), not of how it is written.
    """
    from ingestion.formulas.mark import definition_marks

    found = []
    for each in features:
        group = each.group
        formulas = project.formulas if isinstance(group.source, FromBars) else {}
        marks = definition_marks([formulas[name] for name in each.outputs if name in formulas])
        declared = {column.name: column for column in group.columns}
        for name, column in each.outputs.items():
            told = {
                "column": plain(declared[name]),
                "source": [type(group.source).__name__, plain(group.source)],
                "ttl_s": group.ttl.total_seconds(),
                "mark": marks.get(name),
            }
            text = json.dumps(told, ensure_ascii=False, sort_keys=True)
            sha256 = hashlib.sha256(text.encode()).hexdigest()
            found.append({"column": column, "group": group.name, "feature": name, "sha256": sha256})
    return found


def definition_hashes(project: Project, features: Sequence[Features]) -> dict[str, str]:
    """Return the hashes of :func:`feature_definitions` by column."""
    return {each["column"]: each["sha256"] for each in feature_definitions(project, features)}


Declared = tuple[FeatureGroup, str, str]
"""A feature of a data set: its group, its name and its column."""


def declared(
    catalog: Catalog, told: Iterable[Mapping[str, str]]
) -> tuple[list[Declared], list[Mapping[str, str]]]:
    """Return which features of a data set the catalog has, and which it does not have."""
    groups = {group.name: group for group in catalog.groups}
    found: list[Declared] = []
    gone: list[Mapping[str, str]] = []
    for each in told:
        group, name = groups.get(each["group"]), each["feature"]
        if group is None or all(column.name != name for column in group.columns):
            gone.append(each)
        else:
            found.append((group, name, each["column"]))
    return found, gone


def parts_read(lakehouse: Lakehouse, spans: Iterable[Span]) -> dict[str, dict[str, str]]:
    """Return the parts that may be read, by dataset, each with the hash of its content.

    The hash is what the ledger of the run that wrote it recorded; of a part that no ledger names it
    is computed.
    """
    ledger = Ledger.read(lakehouse, whole=False)
    found: dict[str, dict[str, str]] = {}
    for dataset, first, last in spans:
        of_dataset = found.setdefault(dataset.name, {})
        for part in list_parts(lakehouse, dataset, first, last):
            recorded = ledger.of(part.key)
            of_dataset[part.key] = recorded[-1].sha256 if recorded else part.sha256()
    return found


def spans_of(groups: Iterable[FeatureGroup], first: datetime, last: datetime) -> list[Span]:
    """Return the dates of groups whose rows may answer a question between two instants."""
    return [(group, (first - group.ttl).date(), last.date()) for group in groups]
