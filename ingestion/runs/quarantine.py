"""What a run kept back: rows that broke a rule, with the rule, for people to look at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow.compute as pc

from ingestion.lakehouse import Lakehouse, RunFile, run_file, run_files
from ingestion.lakehouse.caches import keep_document, kept_document

QUARANTINE_FILE = "quarantine.parquet"
DATASET = "dataset"
"""Column of the quarantine file: the group that a row is of."""
FILE = "quarantined_symbols.zip"

_Symbols = dict[str, tuple[str, dict[str, list[str]]]]
"""By run, the state of its file, and by group the symbols of which it has rows."""


def quarantined(lakehouse: Lakehouse, run_id: str) -> Counter[str]:
    """Return how many rows of each group a run put into quarantine.

    Raises
    ------
    CorruptPart
        If its file cannot be read.
    """
    file = run_file(lakehouse, run_id, QUARANTINE_FILE)
    if not file.exists():
        return Counter()
    return Counter(file.read_table([DATASET])[DATASET].to_pylist())


def quarantined_rows(
    lakehouse: Lakehouse, dataset: str, symbol: str
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a symbol's rows in quarantine, the newest run's first, each with its run.

    Which symbols a file has is kept in a cache, so a file without the symbol is read once.

    Raises
    ------
    CorruptPart
        If a run's file cannot be read.
    """
    before = kept_document(lakehouse, FILE, _known) or {}
    known: _Symbols = {}
    for file in run_files(lakehouse, QUARANTINE_FILE):
        state, told = lakehouse.state(file.key), before.get(file.run_id)
        if told is None or told[0] != state:
            told = state, _symbols_in(file)
        if told == before.get(file.run_id) or not lakehouse.is_writing(file.run_id):
            known[file.run_id] = told
        if symbol in told[1].get(dataset, ()):
            rows = file.read_table()
            is_wanted = pc.and_(pc.equal(rows[DATASET], dataset), pc.equal(rows["symbol"], symbol))
            yield from ((file.run_id, row) for row in rows.filter(is_wanted).to_pylist())
    if known != before:
        keep_document(lakehouse, FILE, known)


def _symbols_in(file: RunFile) -> dict[str, list[str]]:
    rows = file.read_table([DATASET, "symbol"])
    of_dataset = rows.group_by(DATASET).aggregate([("symbol", "distinct")]).to_pylist()
    return {each[DATASET]: each["symbol_distinct"] for each in of_dataset}


def _known(document: dict[str, Any]) -> _Symbols:
    return {
        str(run_id): (str(state), {str(name): [*symbols] for name, symbols in of_dataset.items()})
        for run_id, (state, of_dataset) in document.items()
    }
