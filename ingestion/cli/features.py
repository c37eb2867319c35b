"""Features that others computed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ingestion.base.errors import demand_all
from ingestion.base.wording import counted
from ingestion.cli.group import cli, examples, this_project
from ingestion.cli.options import json_option
from ingestion.cli.output import show

if TYPE_CHECKING:
    from ingestion.jobs.ingest.import_features import ImportFeaturesResult


@cli.command(
    "import-features",
    **examples(
        "import-features my_scores scores.parquet",
    ),
)
@click.argument("group")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def import_features_command(group: str, files: tuple[Path, ...], as_json: bool) -> None:
    """Load rows that others computed into a group.

    FILES have the columns symbol, event_timestamp and the values. Exit 3 if a row was refused or
    quarantined; the others are stored.
    """
    from ingestion.jobs.ingest.import_features import import_features

    result = import_features(this_project(), group, files)
    show(as_json, result, import_text)
    demand_all(result)


def import_text(result: ImportFeaturesResult) -> str:
    """Return what became of the rows for people."""
    counts = (
        (result.unchanged, "there already"),
        (result.quarantined, "quarantined"),
        (result.refused, "refused"),
    )
    more = "".join(f", {count:,} {what}" for count, what in counts if count)
    lines = [f"{result.written:,} of {counted(result.read, 'row')} written to {result.group}{more}"]
    if result.ignored_columns:
        lines.append(f"the group has no {', '.join(result.ignored_columns)}: left out")
    lines += [f"  refused {count:,}: {why}" for why, count in result.refused_by_reason.items()]
    lines += [f"  {each}" for each in result.refused_rows]
    return "\n".join([*lines, str(result.receipt)])
