"""Checks that the columns that the catalog declares fit the parts that are stored.

A dataset's columns are only ever added or retired, and an int64 may become a double. A catalog that
breaks this would make stored parts unreadable, or would write parts that the former catalog cannot
read. So it is refused, by commands when they begin and by the writer before the first part.

To find that out, nobody reads thousands of files: ``_columns/<dataset>.json`` repeats the columns
that the last written part recorded. That file may be deleted at any time; the next writer looks at
all parts once and makes it again.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa

from ingestion.base.columns import RECORD, damage, record, recorded
from ingestion.base.errors import CorruptPart, InputError
from ingestion.catalog import Dataset
from ingestion.lakehouse.backend import Lakehouse
from ingestion.lakehouse.origins import is_of_a_run
from ingestion.lakehouse.parts import Part, list_parts, newest_part, read_schema
from ingestion.lakehouse.schema import arrow_schema, misfits

_KEY = "_columns/{}.json"


def check_stored(lakehouse: Lakehouse, dataset: Dataset) -> list[str]:
    """Say why a dataset's declared columns do not fit its stored parts, and what to do.

    Reads the remembered columns and, unless they are the declared ones, the footer of the newest
    part.

    Returns
    -------
    list of str
        Empty if they fit, or if nothing is stored.
    """
    content = _content(lakehouse, dataset)
    if content == _declared(dataset):
        return []
    remembered = _remembered(content)
    if remembered is not None and (found := misfits(dataset, remembered)):
        return [f"{dataset.name}: {each}" for each in found]
    newest = newest_part(lakehouse, dataset)
    return [] if newest is None else _misfits_of(dataset, [newest])


def remember_columns(lakehouse: Lakehouse, dataset: Dataset) -> None:
    """Remember the declared columns, because a part is about to be written with them.

    The caller has locked the lakehouse.

    Raises
    ------
    InputError
        If they do not fit the stored parts.
    """
    content = _content(lakehouse, dataset)
    if content == _declared(dataset):  # as the last part was written
        return
    remembered = _remembered(content)
    found = (
        _misfits_of(dataset, list_parts(lakehouse, dataset))
        if remembered is None
        else [f"{dataset.name}: {each}" for each in misfits(dataset, remembered)]
    )
    if found:
        raise InputError(f"{'; '.join(found)}. Nothing was written")
    lakehouse.put(_KEY.format(dataset.name), _declared(dataset))


def _misfits_of(dataset: Dataset, parts: Iterable[Part]) -> list[str]:
    seen: set[pa.Schema] = set()
    for part in parts:
        try:
            schema = read_schema(part)
        except (CorruptPart, FileNotFoundError):
            continue  # who reads it says so
        columns = schema.remove_metadata()
        if columns in seen or not _is_of(dataset, schema):
            continue
        seen.add(columns)
        if found := misfits(dataset, schema, ordered=is_of_a_run(schema.metadata)):
            return [f"{dataset.name}: {each} (as {part} has it)" for each in found]
    return []


def _is_of(dataset: Dataset, schema: pa.Schema) -> bool:
    """Return whether a file is a sound part, rather than a damaged or a foreign one."""
    if damage(schema) is not None:
        return False
    return recorded(schema) is not None or {*dataset.key, dataset.event} <= {*schema.names}


def _declared(dataset: Dataset) -> bytes:
    (text,) = record(arrow_schema(dataset)).values()
    return text.encode()


def _remembered(content: bytes | None) -> pa.Schema | None:
    try:
        return None if content is None else recorded(pa.schema([], {RECORD: content}))
    except ValueError:
        return None  # torn, or of a later version


def _content(lakehouse: Lakehouse, dataset: Dataset) -> bytes | None:
    try:
        with lakehouse.open(_KEY.format(dataset.name)) as file:
            return file.read()
    except FileNotFoundError:
        return None
