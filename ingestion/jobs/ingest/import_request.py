"""Which files an import reads, and how."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

from ingestion.bars.cells import is_date_format
from ingestion.bars.duplicates import Duplicates
from ingestion.base.errors import InputError


@dataclass(frozen=True)
class ImportRequest:
    """Which files to import, and how to read them."""

    files: tuple[Path, ...] = ()
    """Bars, CSV or Parquet; none to record splits or dividends alone."""
    exchange: str | None = None
    """Exchange of bare tickers."""
    symbol_map: Path | None = None
    """JSON object or two-column CSV: vendor name → unified symbol."""
    splits: Path | None = None
    """CSV or Parquet: symbol, ex-date, ratio."""
    dividends: Path | None = None
    """CSV or Parquet: symbol, ex-date, amount, currency."""
    adjusted: bool = False
    """Whether the files' prices, volumes and dividends are split-adjusted."""
    max_return: float = 5.0
    """Largest one-day return that is believed, as a fraction; a fall is limited as a ratio is."""
    restate: bool = False
    """Whether a past that is scaled against the stored one replaces it."""
    duplicates: Duplicates = Duplicates.REFUSE
    """What becomes of bars of one session that disagree."""
    date_format: str | None = None
    """How the files write dates, for :meth:`datetime.datetime.strptime`; tried first."""
    widen_range: bool = False
    """Whether high and low are moved to contain open and close."""
    first: date | None = None
    last: date | None = None
    """Sessions that are wanted; None for all."""

    def refuse_unless_sound(self) -> None:
        """Look at what can be judged before a file is read.

        Raises
        ------
        InputError
            If no file is named, or an option makes no sense.
        """
        if not self.files and self.splits is None and self.dividends is None:
            raise InputError("name files of bars to import, or --splits FILE, or --dividends FILE")
        if not self.max_return > 0:
            raise InputError(f"--max-return {self.max_return:g}: a return is limited above 0")
        if self.date_format is not None and not is_date_format(self.date_format):
            raise InputError(
                f"--date-format {self.date_format!r} gives no whole date; write it as strptime "
                "does, such as %d/%m/%Y"
            )

    def resolved(self) -> ImportRequest:
        """Name the files from the root: an import that is half done is known by them."""
        splits = self.splits.resolve() if self.splits else None
        dividends = self.dividends.resolve() if self.dividends else None
        files = tuple(path.resolve() for path in self.files)
        return replace(self, files=files, splits=splits, dividends=dividends)
