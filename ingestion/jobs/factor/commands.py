"""The command that gives the figures of a page again."""

from __future__ import annotations

import shlex

from ingestion.jobs.factor.factor_report import HORIZONS, MIN_SYMBOLS, QUANTILES, FactorReport
from ingestion.jobs.factor.figures import Factor, OfHorizon


def command_of(
    report: FactorReport, of: Factor | None = None, more: str = "", one: OfHorizon | None = None
) -> str:
    """Return the command of all figures of a report; of one factor, and of one horizon.

    What the command takes by default is left out.
    """
    asked = report.request
    names = [of.feature] if of else list(dict.fromkeys(each.feature for each in report.factors))
    words = ["tvfeast", "factor-report", *names]
    words += ["--from", f"{asked.schedule.first}", "--to", f"{asked.schedule.last}"]
    if asked.schedule.every != "session":
        words += ["--every", asked.schedule.every]
    if asked.entry != "open":
        words += ["--entry", asked.entry]
    if asked.candidates:
        words += ["--candidates", str(asked.candidates)]
    for universe in [of.universe] if of and asked.universes else asked.universes:
        words += ["--universe", universe]
    if asked.quantiles != QUANTILES:
        words += ["--quantiles", str(asked.quantiles)]
    if asked.min_symbols != MIN_SYMBOLS:
        words += ["--min-symbols", str(asked.min_symbols)]
    if asked.known_at is not None:
        words += ["--known-at", asked.known_at.isoformat()]
    if asked.as_recorded:
        words += ["--as-recorded"]
    if one:
        words += ["--horizon" if one.label.isdigit() else "--target", one.label]
    elif asked.targets:
        words += [word for each in asked.targets for word in ("--target", each)]
    elif tuple(asked.horizons) != HORIZONS:
        words += [word for each in asked.horizons for word in ("--horizon", str(each))]
    return " ".join([*map(shlex.quote, words), *filter(None, [more])])
