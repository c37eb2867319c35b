"""The Parquet file of a data set: written slice by slice, and in its place at one stroke."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.base.disk import sync

_KEYS = ["symbol", "event_timestamp"]


class SetFile:
    """Writes a data set; a context manager, which leaves the file whole or not at all.

    Of two processes that write to one place, the last one counts.

    Parameters
    ----------
    run_id
        Names the file while it is unfinished.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> rows = pa.table({"symbol": ["NYSE:KO"], "RSI": [50.0]})
    >>> with TemporaryDirectory() as folder:
    ...     place = Path(folder, "set.parquet")
    ...     with SetFile(place, rows.schema, "run") as written:
    ...         written.write(rows)
    ...     pq.read_table(place).num_rows
    1
    """

    def __init__(self, place: Path, schema: pa.Schema, run_id: str) -> None:
        place.parent.mkdir(parents=True, exist_ok=True)
        self.place = place
        self._unfinished = place.with_name(f".{place.name}.{run_id}.unfinished")
        self._writer = pq.ParquetWriter(
            self._unfinished,
            schema,
            compression="zstd",
            compression_level=1,
            # Doubles repeat too seldom for a dictionary to be worth its time.
            use_dictionary=[name for name in schema.names if name in _KEYS],
        )

    def write(self, rows: pa.Table) -> None:
        """Add rows."""
        self._writer.write_table(rows)

    def __enter__(self) -> SetFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self._writer.close()
            if error is None:
                sync(self._unfinished)
                self._unfinished.replace(self.place)
                sync(self.place.parent)
        finally:
            self._unfinished.unlink(missing_ok=True)
