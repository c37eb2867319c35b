"""Recorded answers of the scanner, read as rows: what a replay serves where no bars are.

Three forms are read:

- an answer as it came, ``{"data": [{"s": …, "d": […]}]}``, with the columns in a file beside it:
  ``NAME.columns.json``, or the request, ``NAME.request.json`` or ``request.json``
- rows by column, ``{"data": [{"symbol": …, …}]}``, or one such row
- the values of one symbol, ``{"RSI": …}``, which are given with its name, ``NASDAQ:AAPL=FILE``
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ingestion.base.errors import InputError

Rows = dict[str, dict[str, Any]]
"""By symbol, JSON values by the scanner's name of their column."""


def read_recordings(named: Iterable[str]) -> Rows:
    """Read recordings; where two have a value of one symbol's column, the later one counts.

    Parameters
    ----------
    named
        Files, or ``SYMBOL=FILE`` for the values of one symbol.

    Raises
    ------
    InputError
        If a file cannot be read, or is of no known form.
    """
    rows: Rows = {}
    for text in named:
        symbol, is_named, file = text.rpartition("=")
        for name, values in read_recording(Path(file), symbol if is_named else None).items():
            rows.setdefault(name, {}).update(values)
    return rows


def read_recording(path: Path, symbol: str | None = None) -> Rows:
    """Read one recording.

    Parameters
    ----------
    symbol
        Whose values they are, where the file does not say.

    Raises
    ------
    InputError
        As :func:`read_recordings`.
    """
    document = _read(path)
    if symbol is not None:
        if not isinstance(document, dict):
            raise InputError(f"{path} is no object of values by column")
        return {symbol: document}
    data = document.get("data") if isinstance(document, dict) else None
    rows = [data] if isinstance(data, dict) else data
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        if all("s" in row and "d" in row for row in rows):
            columns = _columns_beside(path)
            return {row["s"]: dict(zip(columns, row["d"], strict=False)) for row in rows}
        if all(isinstance(row.get("symbol"), str) for row in rows):
            return {row["symbol"]: _without(row, "symbol") for row in rows}
    raise InputError(
        f"{path} is no recorded answer: it has no data with s and d, or symbol, in each row; "
        "for the values of one symbol write NASDAQ:AAPL=FILE"
    )


def _columns_beside(path: Path) -> list[str]:
    """Return the columns that an answer's rows have, from the file beside it that says so."""
    name = path.name.removesuffix(".json").removesuffix("response").removesuffix(".")
    for kind in ("columns", "request"):
        beside = path.with_name(f"{name}.{kind}.json" if name else f"{kind}.json")
        if beside.is_file():
            columns = _read(beside).get("columns")
            if isinstance(columns, list):
                return columns
    raise InputError(f"{path} does not say its columns: put NAME.columns.json beside it")


def _without(row: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
