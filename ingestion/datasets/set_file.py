"""The Parquet file of a data set: written slice by slice, and in its place at one stroke.

It says where its rows come from: in its metadata under :data:`KEY`, and in a file beside it whose
name ends with ``.json``.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.disk import check_writable, sync
from ingestion.base.errors import InputError
from ingestion.base.plain import plain
from ingestion.base.wording import reason_of
from ingestion.datasets.fingerprint import Fingerprints

KEY = "tvfeast.provenance"
"""Of the metadata; the value is a JSON object."""
_KEYS = ["symbol", "event_timestamp"]


def json_beside(place: Path) -> Path:
    """Return the file that says where a data set comes from.

    Examples
    --------
    >>> json_beside(Path("weekly.parquet")).name
    'weekly.parquet.json'
    """
    return place.with_name(f"{place.name}.json")


def read_provenance(place: Path) -> dict[str, Any]:
    """Return what a data set says of where its rows come from.

    Raises
    ------
    InputError
        If the file cannot be read, or does not say it.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     place = Path(folder, "set.parquet")
    ...     pq.write_table(pa.table({"RSI": [50.0]}), place)
    ...     try:
    ...         read_provenance(place)
    ...     except InputError as error:
    ...         print(str(error).partition(" does ")[2].partition(":")[0])
    not say where its rows come from
    """
    try:
        metadata = pq.read_metadata(place).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{place} cannot be read: {reason_of(error)}") from None
    try:
        found = json.loads(metadata[KEY.encode()])
    except (KeyError, ValueError):
        raise InputError(
            f"{place} does not say where its rows come from: make it with `tvfeast panel` or "
            "`tvfeast training-set`"
        ) from None
    if not isinstance(found, dict):
        raise InputError(f"{place}: {KEY} in its metadata is no JSON object")
    return found


class SetFile:
    """Writes a data set; a context manager, which leaves the file whole or not at all.

    Of two processes that write to one place, the last one counts.

    Parameters
    ----------
    run_id
        Names the file while it is unfinished.

    Raises
    ------
    InputError
        If there is a folder in its place, or no file can be written there.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> rows = pa.table({"symbol": ["NYSE:KO"], "RSI": [50.0]})
    >>> with TemporaryDirectory() as folder:
    ...     place = Path(folder, "set.parquet")
    ...     with SetFile(place, rows.schema, "run") as written:
    ...         written.write(rows)
    ...         written.record(kind="panel")
    ...     read_provenance(place)["kind"]
    'panel'
    """

    def __init__(self, place: Path, schema: pa.Schema, run_id: str) -> None:
        check_writable(place)
        self.place = place
        self.provenance: dict[str, Any] = {}
        self._fingerprints = Fingerprints()
        self._unfinished = place.with_name(f".{place.name}.{run_id}.unfinished")
        self._beside = json_beside(self._unfinished)
        self._writer = pq.ParquetWriter(
            self._unfinished,
            schema,
            # Values of features are smaller by 7 % with zstd, which takes three times as long.
            compression="snappy",
            # Doubles repeat too seldom for a dictionary to be worth its time, and in the order of
            # time each row group has values of nearly all sizes.
            use_dictionary=(keys := [name for name in schema.names if name in _KEYS]),
            write_statistics=keys,
        )

    def write(self, rows: pa.Table) -> None:
        """Add rows."""
        self._writer.write_table(rows)
        self._fingerprints.add(rows)

    def record(self, **provenance: object) -> None:
        """Take down where the rows come from; what JSON can contain."""
        self.provenance |= {name: plain(value) for name, value in provenance.items()}

    def __enter__(self) -> SetFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.provenance["fingerprint"] = self._fingerprints.result()._asdict()
            text = json.dumps(self.provenance, ensure_ascii=False)
            self._writer.add_key_value_metadata({KEY: text})
            self._writer.close()
            if error is None:
                self._beside.write_text(f"{text}\n")
                sync(self._beside)
                sync(self._unfinished)
                self._beside.replace(json_beside(self.place))
                self._unfinished.replace(self.place)
                sync(self.place.parent)
        finally:
            self._unfinished.unlink(missing_ok=True)
            self._beside.unlink(missing_ok=True)
