"""How long after its session's close a symbol's snapshot was final, by the feed it came from.

The snapshots themselves do not say whether their feed was delayed, so each change of it is a row of
``feeds``. Most feeds never change and are as usual for their exchange: those have no row.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from datetime import datetime

import pyarrow as pa

from ingestion.base.arrow import to_rows
from ingestion.base.reading import reading_again
from ingestion.catalog import FEEDS
from ingestion.lakehouse import Lakehouse, list_parts, read_part
from ingestion.lakehouse.schema import arrow_schema
from ingestion.markets.hours import feed_delay, hours_of


class Feeds:
    """What was observed of all feeds.

    Parameters
    ----------
    lakehouse
        The lakehouse's.
    """

    def __init__(self, lakehouse: Lakehouse) -> None:
        tables = reading_again(
            lambda: [read_part(part, FEEDS) for part in list_parts(lakehouse, FEEDS)]
        )
        self._of: dict[str, tuple[list[int], list[int]]] = {}
        self.observe(*tables)

    def observe(self, *tables: pa.Table) -> None:
        """Take rows of ``feeds`` that are not stored yet; they are later than those that are."""
        observed = [row for table in tables for row in to_rows(table)]
        for row in sorted(observed, key=lambda row: row["observed_at"]):
            instants, delays = self._of.setdefault(row["symbol"], ([], []))
            instants.append(int(row["observed_at"].timestamp()))
            delays.append(feed_delay(row["update_mode"]))

    def delay(self, symbol: str, known_at: int) -> int:
        """Return the seconds after a close from which a snapshot's values were final.

        Parameters
        ----------
        known_at
            When the snapshot was taken, Unix seconds.
        """
        instants, delays = self._of.get(symbol, ([], []))
        i = bisect_right(instants, known_at)
        return delays[i - 1] if i else hours_of(symbol).finality_delay

    def news(self, modes: Mapping[str, str | None], known_at: datetime) -> pa.Table:
        """Return rows of ``feeds`` for the symbols whose delay is not as it was.

        Parameters
        ----------
        modes
            By symbol, ``update_mode`` as the scanner has it.
        known_at
            When the snapshot was taken.
        """
        second = int(known_at.timestamp())
        rows = [
            {"symbol": symbol, "update_mode": mode, "observed_at": known_at}
            for symbol, mode in sorted(modes.items())
            if feed_delay(mode) != self.delay(symbol, second)
        ]
        return pa.Table.from_pylist(rows, schema=arrow_schema(FEEDS))
