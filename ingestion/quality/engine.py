"""Great Expectations over the rows of a batch, in memory: no files, no network, no progress bars.

Its import takes seconds, and is paid for by the first :class:`Engine` of a process.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ingestion.quality.rules import Level, Rule

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations import Expectation


@dataclass(frozen=True)
class Broken:
    """A rule that is broken."""

    check: str
    level: Level
    positions: NDArray[np.int64]
    """Rows that break it; empty where it is about all of them."""
    detail: str
    """What was found instead, for people."""


class Engine:
    """Judges rows by rules.

    Parameters
    ----------
    site
        Folder of an HTML site that :meth:`build_site` fills with all that was judged; none is
        needed to judge.
    """

    def __init__(self, site: Path | None = None) -> None:
        self._gx = import_great_expectations()
        self._site = site
        self._context = _context(self._gx, site)

    def judge(
        self, name: str, rows: pa.Table, each: Sequence[Rule], shares: Sequence[Rule] = ()
    ) -> list[Broken]:
        """Return the rules that are broken, in their order.

        Parameters
        ----------
        name
            Of the batch; each name once in an engine.
        each
            Rules for single rows.
        shares
            Rules for all rows together.
        """
        expectations = [
            *(rule.expectation({"check": rule.check, "level": Level.ROW}) for rule in each),
            *(rule.expectation({"check": rule.check, "level": Level.BATCH}) for rule in shares),
        ]
        frame = _frame(rows, each)
        batches = (
            self._context.data_sources.add_pandas(name)
            .add_dataframe_asset(name)
            .add_batch_definition_whole_dataframe(name)
        )
        if self._site is not None:
            return self._judge_for_site(name, batches, frame, expectations)
        batch = batches.get_batch({"dataframe": frame})
        verdicts = batch.validate(self._suite(name, expectations), result_format="BOOLEAN_ONLY")
        # Results name their rows only at a price, so only those are asked that have any to name.
        checks = {_check(result) for result in _failed(verdicts)}
        failed = [each for each in expectations if each.meta["check"] in checks]
        if not failed:
            return []
        found = batch.validate(self._suite(name, failed), result_format="COMPLETE")
        return [_broken(result) for result in _failed(found)]

    def build_site(self) -> Path:
        """Write the HTML site; returns its first page."""
        if self._site is None:
            raise ValueError("this engine was made without a site")
        self._context.build_data_docs()
        return self._site / "index.html"

    def _judge_for_site(
        self, name: str, batches: Any, frame: pd.DataFrame, expectations: Sequence[Expectation]
    ) -> list[Broken]:
        suite = self._context.suites.add(self._suite(name, expectations))
        definition = self._gx.ValidationDefinition(name=name, data=batches, suite=suite)
        definition = self._context.validation_definitions.add(definition)
        results = definition.run(batch_parameters={"dataframe": frame}, result_format="COMPLETE")
        return [_broken(result) for result in _failed(results)]

    def _suite(self, name: str, expectations: Sequence[Expectation]) -> Any:
        # An expectation belongs to one suite: `judge` may put it into a second one.
        copies = [expectation.copy() for expectation in expectations]
        return self._gx.ExpectationSuite(name=name, expectations=copies)


def _frame(rows: pa.Table, rules: Sequence[Rule]) -> pd.DataFrame:
    """Return rows as a frame of Arrow's own types, in which NaN is no null and integers are exact.

    Each sum has a column of its residuals, under the name of its check.
    """
    import pandas as pd

    for rule in rules:
        if rule.residual is not None:
            values, valid = rule.residual(rows)
            rows = rows.append_column(rule.check, pa.array(values, pa.float64(), mask=~valid))
    frame: pd.DataFrame = rows.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def import_great_expectations() -> Any:
    """Import the library and return it; that takes seconds."""
    with warnings.catch_warnings():
        # Its own, of the standard library's `sre_constants`.
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return great_expectations


def _context(gx: Any, site: Path | None) -> Any:
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    # The defaults would send the site to a temporary folder of its own.
    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        progress_bars=ProgressBarsConfig(globally=False),
        analytics_enabled=False,
    )
    context = gx.get_context(mode="ephemeral", project_config=config)
    if site is not None:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(site)}
        builder = {"class_name": "DefaultSiteIndexBuilder"}
        context.add_data_docs_site(
            "quality",
            {
                "class_name": "SiteBuilder",
                "site_index_builder": builder,
                "store_backend": store,
                "show_how_to_buttons": False,
            },
        )
    return context


def _failed(results: Any) -> list[ExpectationValidationResult]:
    return [each for each in results.results if not each.success]


def _check(result: ExpectationValidationResult) -> str:
    return str(result.expectation_config.meta["check"])


def _broken(result: ExpectationValidationResult) -> Broken:
    meta, found = result.expectation_config.meta, result.result
    positions = found.get("unexpected_index_list", [])
    # Without positions it was not judged: whatever the reason, no row can be said to be right.
    level = Level(meta["level"]) if positions else Level.BATCH
    rows = positions if level is Level.ROW else []
    return Broken(meta["check"], level, np.array(rows, dtype=np.int64), _detail(found))


def _detail(found: dict[str, Any]) -> str:
    import pandas as pd

    if "unexpected_count" not in found:
        return "could not be judged"
    values = (each for each in found.get("partial_unexpected_list", []) if each is not pd.NA)
    named = ", ".join(map(str, islice(values, 3)))
    counts = f"{found['unexpected_count']:,} of {found['element_count']:,}"
    return f"{counts}, such as {named}" if named else counts
