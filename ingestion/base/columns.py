"""What the columns of a stored Parquet file are: one decision, for the lakehouse and the plug-ins.

A part of the lakehouse records, in its metadata, the columns that its dataset had when the part was
written, in their order and with their types. A file without such a record (of version 0.1.0, or of
another program) has the columns that its own schema says. From that follows:

- A file that differs from its record is damaged.
- A column that the record lacks was declared after the file was written. It reads as null, unless
  it is required.
- A column of another type than the declared one reads as far as ``fit`` can convert it. Parts of
  the lakehouse may only widen, from int64 to double; see :func:`widened`.
- A column that is not asked for is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.errors import CorruptPart, InputError

RECORD = "tvfeast.columns"
"""The metadata's key; the value is a JSON object, from each column's name to its type."""

INSTANT = pa.timestamp("us", tz="UTC")
_TEXT = pa.string()
_ARROWS = b"ARROW:schema"
_MANY = 256
_schemas: dict[tuple[bytes | None, ...], tuple[pq.ParquetSchema, pa.Schema]] = {}
"""By what its metadata says, the columns of a file."""
_TYPES = {str(kind): kind for kind in (pa.int64(), pa.float64(), pa.bool_(), pa.string(), INSTANT)}


class Column(NamedTuple):
    """A column to read."""

    name: str
    """As the files have it."""
    type: pa.DataType | None
    """What was declared; None for as it is stored."""
    required: bool = False
    """Whether a file without it is an error, rather than a file of nulls."""
    seconds: bool = False
    """Whether the plug-ins read integers as instants too: as seconds since 1970 UTC."""


Fit = Callable[[pa.ChunkedArray, Column], pa.ChunkedArray]
"""Converts stored values to a column's declared type; raises TypeError if it cannot."""


def record(schema: pa.Schema) -> dict[str, str]:
    """Return the metadata in which a file records its columns.

    Raises
    ------
    ValueError
        If a type is none of the lakehouse's.

    Examples
    --------
    >>> record(pa.schema({"symbol": pa.string(), "RSI": pa.float64()}))
    {'tvfeast.columns': '{"symbol": "string", "RSI": "double"}'}
    """
    types = {field.name: str(field.type) for field in schema}
    if unknown := set(types.values()) - _TYPES.keys():
        raise ValueError(f"no type of the lakehouse: {', '.join(sorted(unknown))}")
    return {RECORD: json.dumps(types, ensure_ascii=False)}


def recorded(schema: pa.Schema) -> pa.Schema | None:
    """Return the columns that a file's metadata records; None if it records none.

    Raises
    ------
    ValueError
        If the record cannot be read.

    Examples
    --------
    >>> columns = pa.schema({"symbol": pa.string(), "RSI": pa.float64()})
    >>> recorded(columns.with_metadata(record(columns))) == columns
    True
    """
    text = (schema.metadata or {}).get(RECORD.encode())
    return None if text is None else _parsed(text)


def stored_columns(file: pq.ParquetFile) -> pa.Schema:
    """Return the columns of a file, and what it records of them.

    Most dates' files have those of the one before: to make them anew takes as long as to read a
    column. Other metadata may be that file's.
    """
    metadata = file.metadata.metadata or {}
    said = metadata.get(_ARROWS), metadata.get(RECORD.encode())
    before = _schemas.get(said)
    if before is None or not before[0].equals(file.schema):
        if len(_schemas) >= _MANY:
            _schemas.clear()
        _schemas[said] = before = file.schema, file.schema_arrow
    return before[1]


@lru_cache(maxsize=256)
def _parsed(text: bytes) -> pa.Schema:
    try:
        types: Mapping[str, str] = json.loads(text)
        return pa.schema([(name, _TYPES[kind]) for name, kind in types.items()])
    except (ValueError, AttributeError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{RECORD} names no columns that this version knows ({error})") from None


def damage(schema: pa.Schema) -> str | None:
    """Say how a file differs from its record; None if it does not."""
    try:
        wanted = recorded(schema)
    except ValueError as error:
        return str(error)
    if wanted is None or schema.equals(wanted):
        return None
    return f"differs from its own record of its columns: {difference(schema, wanted)}"


def difference(found: pa.Schema, wanted: pa.Schema) -> str:
    """Say how the columns of a file differ from what they must be; they do."""
    if lacking := [name for name in wanted.names if name not in found.names]:
        return f"{lacking[0]} is missing"
    if foreign := [name for name in found.names if name not in wanted.names]:
        return f"{foreign[0]} is not in it"
    for field in wanted:
        if found.names.count(field.name) > 1:
            return f"{field.name} is there twice"
        if (kind := found.field(field.name).type) != field.type:
            return f"{field.name} is {kind}, not {field.type}"
    return "the columns are in another order"


def widened(values: pa.ChunkedArray, column: Column) -> pa.ChunkedArray:
    """Return a column's values in its declared type, where that is a wider one.

    Beyond 2^53, an integer becomes the nearest double.

    Raises
    ------
    TypeError
        If it is not.
    """
    if column.type is None or values.type == column.type:
        return values
    if may_widen(values.type, column.type):
        return values.cast(column.type, safe=False)
    raise TypeError("a type may only widen, from int64 to double")


def may_widen(stored: pa.DataType, declared: pa.DataType) -> bool:
    """Return whether a declared type contains all values of the stored one.

    Examples
    --------
    >>> may_widen(pa.int64(), pa.float64()), may_widen(pa.float64(), pa.int64())
    (True, False)
    """
    return bool(stored == pa.int64() and declared == pa.float64())


def read_columns(
    file: pq.ParquetFile,
    path: Path | str,
    columns: Sequence[Column],
    fit: Fit,
    *,
    row_groups: Sequence[int] | None = None,
    constants: Mapping[str, str | None] | None = None,
    stored: pa.Schema | None = None,
    content: BinaryIO | pa.NativeFile | None = None,
) -> pa.Table:
    """Read columns of a file in their declared types, in the order in which they are asked for.

    Parameters
    ----------
    path
        What errors call the file.
    row_groups
        Which of its row groups; all if not given.
    constants
        Values of columns that the names of the file's folders say.
    stored
        Its columns, as of :func:`stored_columns`, if the caller has them.
    content
        The open file. Texts that lie in it as in the file before are not decoded a second time:
        most dates have the symbols of the date before.

    Raises
    ------
    CorruptPart
        If the file differs from its record, or lacks a required column.
    InputError
        If a column cannot be read as its declared type.
    """
    stored, constants = stored or stored_columns(file), constants or {}
    if (fault := damage(stored)) is not None:
        raise CorruptPart(f"{path} {fault}; put the file back from a backup")
    stored_names = stored.names
    present = set(stored_names)
    names = list(dict.fromkeys(column.name for column in columns if column.name in present))
    groups = range(file.num_row_groups) if row_groups is None else row_groups
    if content is not None and row_groups is None and len(present) == len(stored_names):
        texts = [
            column.name
            for column in columns
            if column.name in present
            and column.type in (None, _TEXT)
            and stored.field(column.name).type == _TEXT
        ]
        table = _read_with_texts(file, content, names, dict.fromkeys(texts))
    else:
        table = file.read_row_groups(groups, columns=names, use_threads=False)
    if (declared := _declared(tuple(columns))) is not None and table.schema.equals(declared):
        return table.replace_schema_metadata(None)
    return pa.table(
        {
            column.name: _fitted(_column(table, path, column, constants), path, column, fit)
            for column in dict.fromkeys(columns)
        }
    )


_texts: dict[str, tuple[tuple[object, ...], pa.ChunkedArray]] = {}
"""By name the column of texts that was read last: how it lies in its file, and what that is."""


def _read_with_texts(
    file: pq.ParquetFile,
    content: BinaryIO | pa.NativeFile,
    names: Sequence[str],
    texts: Collection[str],
) -> pa.Table:
    """Read columns of all row groups; those of texts only if they lie there otherwise than last.

    A column that lies in the file in the same bytes, packed in the same way, is the same column.
    """
    lies = {name: _how_it_lies(file, content, name) for name in texts}
    before = {name: _texts.get(name, (None, None)) for name in texts}
    known = {name: before[name][1] for name in texts if lies[name] == before[name][0] is not None}
    others = [name for name in names if name not in known]
    if known and not others:
        return pa.table(known)
    groups = range(file.num_row_groups)
    table = file.read_row_groups(groups, columns=others, use_threads=False)
    for name in texts:
        own = lies[name]
        if own is not None and name not in known:
            _texts[name] = own, table[name]
    for name, column in known.items():
        table = table.append_column(name, column)
    return table.select(names)


@lru_cache(maxsize=256)
def _declared(columns: tuple[Column, ...]) -> pa.Schema | None:
    """Return a table's schema that needs nothing to be as declared; None if a type is open."""
    if any(column.type is None for column in columns):
        return None
    return pa.schema([(column.name, column.type) for column in columns])


def _how_it_lies(
    file: pq.ParquetFile, content: BinaryIO | pa.NativeFile, name: str
) -> tuple[object, ...] | None:
    """Return a column's bytes in a file, and what else decides what they mean.

    None where that is not compared: a file has mostly one row group.
    """
    if file.num_row_groups != 1:
        return None
    group, schema = file.metadata.row_group(0), file.schema
    at = next((i for i in range(len(schema)) if schema.column(i).path == name), None)
    if at is None:
        return None
    chunk, column = group.column(at), schema.column(at)
    start = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset:
        start = min(start, chunk.dictionary_page_offset)
    content.seek(start)
    packed = content.read(chunk.total_compressed_size)
    levels = column.max_definition_level, column.max_repetition_level
    return packed, chunk.compression, chunk.num_values, chunk.physical_type, *levels


def _column(
    table: pa.Table, path: Path | str, column: Column, constants: Mapping[str, str | None]
) -> pa.ChunkedArray:
    found = table.schema.get_all_field_indices(column.name)
    if len(found) > 1:
        raise CorruptPart(f"{path} has the column {column.name} more than once")
    if found:
        return table[column.name]
    if column.name in constants:
        constant = pa.scalar(constants[column.name], pa.string())
        return pa.chunked_array([pa.repeat(constant, table.num_rows)])
    if column.required and table.num_rows:
        raise CorruptPart(f"{path} has no column {column.name}, which is declared as required")
    return pa.chunked_array([pa.nulls(table.num_rows, column.type or pa.null())])


def _fitted(values: pa.ChunkedArray, path: Path | str, column: Column, fit: Fit) -> pa.ChunkedArray:
    try:
        return fit(values, column)
    except TypeError as error:
        raise InputError(
            f"{path}: column {column.name} is {values.type} and cannot be read as {column.type}, "
            f"which is declared ({error}): correct the declaration, and give values of another "
            "type a column of their own"
        ) from None
