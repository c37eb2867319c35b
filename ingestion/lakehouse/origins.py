"""Which run wrote a row: what a part's Parquet metadata says.

A part as its run wrote it names that run. A merged part also names, in the order of their numbers,
the parts that it was merged from, and says of each row which of them it was in.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

RUN_ID = "tvfeast.run_id"
_LAYOUT = {"tvfeast.schema_version": "1"}
"""How this metadata is laid out; version 0.1.0 asks for it, and so can read what is written now."""
_ORIGINS = "tvfeast.origins"
_ORIGIN_OF_ROW = "tvfeast.origin_of_row"
_LACKS = "tvfeast.lacks"
_NUMBER = np.dtype("<u4")
_A_RUN = re.compile(r"\w[\w.-]{0,99}", re.ASCII)
"""A run's id names a folder, so nothing that leads elsewhere is one."""


@dataclass(frozen=True)
class Origin:
    """A part as one run wrote it."""

    run_id: str
    part: str
    """Where it lay, below the lakehouse's root."""
    sha256: str | None
    """Of its file; None if the file at hand is the very one."""
    rows: int
    lacks: tuple[str, ...] = ()
    """Columns of the file at hand that were declared after this part was written."""


@dataclass(frozen=True)
class Provenance:
    """Where the rows of a part come from."""

    run_id: str
    """The run that wrote the file."""
    origins: tuple[Origin, ...]
    of_row: NDArray[np.uint32]
    """Shape ``(rows,)``: each row's position in ``origins``."""

    def run_of(self, row: int) -> str:
        """Return the run that a row came from."""
        return self.origins[int(self.of_row[row])].run_id


def read_provenance(metadata: Mapping[bytes, bytes] | None, part: str, rows: int) -> Provenance:
    """Read where the rows of a part come from.

    Parameters
    ----------
    metadata
        The schema's, as Arrow gives it.
    part
        The part's path below the lakehouse's root.
    rows
        How many rows the part has.

    Raises
    ------
    ValueError
        If the metadata does not say so, or contradicts the number of rows.
    """
    told = dict(metadata or {})
    try:
        run_id = _checked_run(told[RUN_ID.encode()].decode())
    except (KeyError, ValueError):
        raise ValueError("does not say which run wrote it") from None
    if _ORIGINS.encode() not in told:
        origin = Origin(run_id, part, None, rows)
        return Provenance(run_id, (origin,), np.zeros(rows, dtype=_NUMBER))
    try:
        lacks = json.loads(told.get(_LACKS.encode(), b"{}"))
        origins = tuple(
            Origin(
                each["run_id"],
                each["part"],
                each["sha256"],
                each["rows"],
                tuple(lacks.get(str(number), ())),
            )
            for number, each in enumerate(json.loads(told[_ORIGINS.encode()]))
        )
        of_row = _unpacked(told[_ORIGIN_OF_ROW.encode()], rows, len(origins))
        for origin in origins:
            _checked_run(origin.run_id)
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError, zlib.error):
        raise ValueError("does not say which run its rows came from") from None
    counts = np.bincount(of_row, minlength=len(origins)).tolist()
    if counts != [origin.rows for origin in origins]:
        raise ValueError("has other numbers of rows than the parts that it was merged from")
    return Provenance(run_id, origins, of_row)


def is_of_a_run(metadata: Mapping[bytes, bytes] | None) -> bool:
    """Return whether a run of this project wrote a part, rather than Feast."""
    return RUN_ID.encode() in (metadata or {})


def is_merged(metadata: Mapping[bytes, bytes] | None) -> bool:
    """Return whether a part was merged from others."""
    return _ORIGINS.encode() in (metadata or {})


def runs_of(metadata: Mapping[bytes, bytes] | None) -> frozenset[str]:
    """Return the runs whose rows a part has, without looking at the rows.

    Raises
    ------
    ValueError
        If the metadata does not say so.
    """
    told = dict(metadata or {})
    try:
        if _ORIGINS.encode() in told:
            return frozenset(each["run_id"] for each in json.loads(told[_ORIGINS.encode()]))
        return frozenset({told[RUN_ID.encode()].decode()})
    except (KeyError, TypeError, ValueError, RecursionError):
        raise ValueError("does not say which run wrote it") from None


def rows_lacking(metadata: Mapping[bytes, bytes] | None) -> dict[str, int]:
    """Return how many rows of a merged part are older than columns of it, by column.

    Nothing for a part that its run wrote, and for metadata that cannot be read.
    """
    known = dict(metadata or {})
    lacking: Counter[str] = Counter()
    try:
        rows = [each["rows"] for each in json.loads(known.get(_ORIGINS.encode(), b"[]"))]
        for number, names in json.loads(known.get(_LACKS.encode(), b"{}")).items():
            lacking.update(dict.fromkeys(names, rows[int(number)]))
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError):
        return {}
    return dict(lacking)


def run_metadata(run_id: str) -> dict[str, str]:
    """Return the metadata of a part as its run writes it; what :func:`read_provenance` reads."""
    return {**_LAYOUT, RUN_ID: run_id}


def merged_metadata(
    run_id: str, origins: Sequence[Origin], of_row: NDArray[np.uint32]
) -> dict[str, str]:
    """Return a merged part's metadata; what :func:`read_provenance` reads."""
    packed = zlib.compress(of_row.astype(_NUMBER).tobytes())
    lacks = {number: origin.lacks for number, origin in enumerate(origins) if origin.lacks}
    return {
        **run_metadata(run_id),
        _ORIGINS: json.dumps(
            [
                {
                    "run_id": origin.run_id,
                    "schema_version": 1,  # as version 0.1.0 asks for it
                    "part": origin.part,
                    "sha256": origin.sha256,
                    "rows": origin.rows,
                }
                for origin in origins
            ]
        ),
        **({_LACKS: json.dumps(lacks)} if lacks else {}),
        _ORIGIN_OF_ROW: base64.b64encode(packed).decode(),
    }


def _unpacked(text: bytes, rows: int, origins: int) -> NDArray[np.uint32]:
    size = rows * _NUMBER.itemsize
    content = zlib.decompressobj().decompress(base64.b64decode(text, validate=True), size + 1)
    if len(content) != size:
        raise ValueError("not a number a row")
    of_row = np.frombuffer(content, dtype=_NUMBER)
    if rows and of_row.max() >= origins:
        raise ValueError("a number of no origin")
    return of_row


def _checked_run(run_id: str) -> str:
    if not _A_RUN.fullmatch(run_id):
        raise ValueError("not a run's id")
    return run_id
