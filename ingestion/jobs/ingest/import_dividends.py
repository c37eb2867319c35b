"""The dividends of an import, as traded: its splits are known once its bars are written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ingestion.bars.dividends import Dividend, as_traded, later_ratios, record_dividends
from ingestion.bars.source import Source
from ingestion.bars.source_dividends import SourceDividends, far_from_drop, gone
from ingestion.base import clock
from ingestion.jobs.ingest.import_report import ImportResult
from ingestion.lakehouse import Lakehouse


@dataclass(frozen=True)
class DividendWriter:
    """Writes the dividends of a file, or of a bar source, and counts them."""

    lakehouse: Lakehouse
    run_id: str
    result: ImportResult
    adjusted: bool
    """Whether amounts are adjusted for the splits that came later."""
    stays: Callable[[Source], bool]
    """Whether what is recorded of a source stays as it is."""

    def write_file(self, given: Sequence[Dividend], path: Path) -> None:
        """Record the dividends of a file."""
        ratios = later_ratios(self.lakehouse, given)
        if self.adjusted:
            given = as_traded(given, ratios)
        else:
            split = [each for each in given if ratios[each] != 1 and each.amount]
            self.result.findings.add(
                "dividends_before_splits",
                "dividends are from before a split, and are taken as paid per share then; if the "
                "file is adjusted for splits, import it with --adjusted",
                [f"{each.symbol} {each.ex_date} {each.amount:g}" for each in split],
            )
        source = replace(Source.imported(path.name), adjusted=self.adjusted)
        self._write(dict.fromkeys(given, 0.0), source)

    def write_listed(self, listed: SourceDividends, source: Source) -> None:
        """Record the dividends that a bar source lists, and that it lists others no more."""
        lost = gone(self.lakehouse, listed, source.bar_source or "")
        self.result.findings.add(
            "dividends_missing",
            "symbols of which the source lists no dividend any more: several that it gave are kept",
            lost.missing,
        )
        self.result.dividends_withdrawn = len(lost.withdrawn)
        ratios = later_ratios(self.lakehouse, listed.dividends if self.adjusted else ())
        as_paid = listed.as_traded(dict.fromkeys(listed.dividends, 1.0) | ratios)
        self._write(as_paid | dict.fromkeys(lost.withdrawn, 0.0), source)

    def _write(self, dividends: Mapping[Dividend, float], source: Source) -> None:
        result = self.result
        recorded = record_dividends(
            self.lakehouse,
            dividends,
            str(source),
            clock.now(),
            self.run_id,
            lambda stored: self.stays(Source.parse(stored)),
        )
        result.parts += tuple(recorded.parts)
        result.dividends, result.dividends_restated = recorded.written, recorded.restated
        result.findings.add(
            "dividends_overruled",
            "dividends differ from recorded ones of a source with a higher priority, which stay",
            [f"{each.symbol} {each.ex_date} {each.amount:g}" for each in recorded.overruled],
        )
        result.findings.add(
            "dividends_without_drop",
            "large dividends for which the price did not fall on the ex-date",
            far_from_drop(self.lakehouse, recorded.new),
        )
