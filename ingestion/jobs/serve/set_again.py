"""What a data set is compared with: its labels and definitions of now, and which cells differ."""

from __future__ import annotations

from datetime import date
from typing import Any

import pyarrow as pa

from ingestion.datasets.fingerprint import row_words
from ingestion.jobs.serve.provenance import definition_hashes
from ingestion.jobs.serve.set_contents import SetContents


def labels_again(of_set: SetContents) -> pa.Table:
    """Make a training set's labels again, as of the set's instant."""
    from ingestion.jobs.serve.targets import training_labels

    made = of_set.told["labels"]
    as_of = made["universe_as_of"]
    return training_labels(
        of_set.project,
        made["target"],
        date.fromisoformat(made["first"]),
        date.fromisoformat(made["last"]),
        made["entry"],
        as_of,
        made["symbols"],
        made["universe"],
        as_recorded=bool(of_set.told["as_recorded"]),
        known_at=of_set.known_at,
    ).labels.table


def changed_definitions(of_set: SetContents) -> list[str]:
    """Return the columns whose features are declared otherwise than when the set was made."""
    now = definition_hashes(of_set.project, of_set.features)
    then = {each["column"]: each["sha256"] for each in of_set.told["features"]}
    return [name for name, sha256 in now.items() if then.get(name) != sha256]


def differs(one: pa.Table, other: pa.Table, column: str) -> Any:
    """Return which cells of a column differ in any bit, shape ``(n,)``."""
    kind = other[column].type
    pair = (table.select([column]).cast(pa.schema([(column, kind)])) for table in (one, other))
    first, second = (row_words(each.combine_chunks()) for each in pair)
    return first != second
