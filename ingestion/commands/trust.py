"""Whether what is stored may be served."""

from __future__ import annotations

from ingestion.commands.group import cli, show
from ingestion.options import json_option
from ingestion.settings import Settings


@cli.command("validate")
@json_option
def validate_command(as_json: bool) -> None:
    """Decide whether the newest rows may be served; exit 3 if not."""
    from ingestion.jobs.validate import refuse_unless_passed, validate
    from ingestion.render import trust as render

    result = validate(Settings.from_environment())
    show(as_json, render.validate_document(result), render.validate_text(result))
    refuse_unless_passed(result)


@cli.command("data-docs")
@json_option
def data_docs_command(as_json: bool) -> None:
    """Build the HTML site of the latest checks, and print its path."""
    from ingestion.jobs.data_docs import data_docs
    from ingestion.render import trust as render

    result = data_docs(Settings.from_environment())
    show(as_json, render.data_docs_document(result), render.data_docs_text(result))
