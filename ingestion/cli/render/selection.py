"""Rankings."""

from __future__ import annotations

import csv
import io
from typing import Any

from tabulate import tabulate

from ingestion.catalog import TV_TECHNICALS_1D
from ingestion.cli.render.units import age, figure, minute
from ingestion.jobs.serve.select import REASONS, Selected, Selection

_SHOWN_ANYWAY = ("Recommend.All", "RSI", "ADX", "Perf.W")


def selection_document(selection: Selection) -> dict[str, Any]:
    """Return a ranking for ``--json``: all features, ages in seconds."""
    return {
        "at": selection.at.isoformat(),
        "source": selection.source,
        "group": selection.group,
        "by": selection.by,
        "asked": selection.asked,
        "left_out": selection.left_out,
        "written_later": selection.written_later,
        "selection": [_selected_document(row, selection) for row in selection.rows],
    }


def selection_csv(selection: Selection) -> str:
    """Return a ranking as CSV: all features, ages in seconds."""
    out = io.StringIO()
    known = _known(selection)
    times = [known, f"{known}_age_s", "bar_open", "bar_age_s", "bar_state"]
    names = ["symbol", *selection.features, *times]
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_selected_document(row, selection) for row in selection.rows)
    return out.getvalue()


def selection_text(selection: Selection) -> str:
    """Return a ranking as a table: the feature ranked by, and a few beside it."""
    names = list(dict.fromkeys((selection.by, *_SHOWN_ANYWAY)))
    rows = [
        [
            place,
            row.symbol,
            *(figure(row.features.get(name)) for name in names),
            age(selection.at - row.known_at),
            age(selection.at - row.bar_open) if row.bar_open else "unknown",
            row.bar_state.value,
        ]
        for place, row in enumerate(selection.rows, start=1)
    ]
    headers = [
        "#",
        "symbol",
        *names,
        f"{_known(selection).replace('_', ' ')} age",
        "bar age",
        "bar",
    ]
    align = ["right", "left", *["right"] * (len(names) + 2), "left"]
    table = tabulate(rows, headers, disable_numparse=True, colalign=align) if rows else ""
    return f"{table}\n{selection_footer(selection)}".lstrip("\n")


def selection_footer(selection: Selection) -> str:
    """Return where a ranking comes from and what it leaves out."""
    left_out = [f"{count:,} {REASONS[reason]}" for reason, count in selection.left_out.items()]
    return (
        f"{len(selection.rows):,} of {selection.asked:,} symbols by {selection.by}, "
        f"{selection.group} of the {selection.source} at {minute(selection.at)}"
        + (f"; {later:,} of them written later" if (later := selection.written_later) else "")
        + (f"; left out: {', '.join(left_out)}" if left_out else "")
    )


def _known(selection: Selection) -> str:
    """Return what made the rows of a group knowable: the snapshot, or the close of the bar."""
    return "snapshot" if selection.group == TV_TECHNICALS_1D.name else "bar_close"


def _selected_document(row: Selected, selection: Selection) -> dict[str, Any]:
    at, known = selection.at, _known(selection)
    return {
        "symbol": row.symbol,
        **row.features,
        known: row.known_at.isoformat(),
        f"{known}_age_s": int((at - row.known_at).total_seconds()),
        "bar_open": row.bar_open.isoformat() if row.bar_open else None,
        "bar_age_s": int((at - row.bar_open).total_seconds()) if row.bar_open else None,
        "bar_state": row.bar_state.value,
    }
