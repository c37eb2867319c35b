"""Great Expectations, in memory: no files, no network, no progress bars.

Its import takes seconds, and is paid for by the first :class:`Engine` of a process.
"""

from __future__ import annotations

import importlib.util
import logging
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ingestion.quality.rules import Level

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import ExpectationValidationResult
    from great_expectations.expectations import Expectation


@dataclass(frozen=True)
class Broken:
    """An expectation that does not hold."""

    check: str
    level: Level
    positions: NDArray[np.int64]
    """Rows that break it; empty where it is not about rows."""
    detail: str
    """What was found instead, for people."""


class Engine:
    """Judges frames by expectations.

    Parameters
    ----------
    site
        Folder of an HTML site that :meth:`build_site` fills with all that was judged; none is
        needed to judge.
    """

    def __init__(self, site: Path | None = None) -> None:
        self._gx = _import()
        self._site = site
        self._context = _context(self._gx, site)

    def judge(
        self, name: str, frame: pd.DataFrame, expectations: Sequence[Expectation]
    ) -> list[Broken]:
        """Return the expectations that do not hold, in their order.

        Parameters
        ----------
        name
            Of the batch, once an engine.
        frame
            Indexed from 0.
        """
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
        failed = [
            expectation
            for expectation in expectations
            if expectation.meta["check"] in {_check(each) for each in _failed(verdicts)}
        ]
        if not failed:
            return []
        told = batch.validate(self._suite(name, failed), result_format="COMPLETE")
        return [_broken(each) for each in _failed(told)]

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
        return [_broken(each) for each in _failed(results)]

    def _suite(self, name: str, expectations: Sequence[Expectation]) -> Any:
        # An expectation belongs to one suite: `judge` may put it into a second one.
        copies = [expectation.copy() for expectation in expectations]
        return self._gx.ExpectationSuite(name=name, expectations=copies)


def _import() -> Any:
    _postpone("scipy.stats")
    with warnings.catch_warnings():
        # Its own, of the standard library's `sre_constants`.
        warnings.simplefilter("ignore", DeprecationWarning)
        import great_expectations
    logging.getLogger("great_expectations").setLevel(logging.ERROR)
    return great_expectations


def _postpone(module: str) -> None:
    """Let a module load when something of it is first used.

    Nearly half of the import is ``scipy.stats``, for tests of distributions that no suite here has.
    """
    package = module.partition(".")[0]
    importlib.import_module(package)
    spec = importlib.util.find_spec(module)
    if module in sys.modules or spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    postponed = importlib.util.module_from_spec(spec)
    sys.modules[module] = postponed
    spec.loader.exec_module(postponed)


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
    # Without positions it was not judged: whatever the reason, no row can be said to hold.
    level = Level(meta["level"]) if positions else Level.BATCH
    rows = positions if level is Level.ROW else []
    return Broken(meta["check"], level, np.array(rows, dtype=np.int64), _detail(found))


def _detail(found: dict[str, Any]) -> str:
    import pandas as pd

    if "observed_value" in found:
        return f"found {found['observed_value']}"
    if "unexpected_count" in found:
        values = filter(pd.notna, found.get("partial_unexpected_list", []))
        named = ", ".join(map(str, islice(values, 3)))
        return f"{found['unexpected_count']:,} of {found['element_count']:,}" + (
            f", such as {named}" if named else ""
        )
    return "could not be judged"
