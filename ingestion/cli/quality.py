"""Whether what is stored may be served."""

from __future__ import annotations

from ingestion.cli.group import cli, show
from ingestion.cli.options import json_option
from ingestion.project import Project


@cli.command("validate")
@json_option
def validate_command(as_json: bool) -> None:
    """Decide whether the newest rows may be served; exit 3 if not."""
    from ingestion.cli.render import quality as render
    from ingestion.jobs.audit.validate import refuse_unless_passed, validate

    result = validate(Project.from_environment())
    show(as_json, render.validate_document(result), render.validate_text(result))
    refuse_unless_passed(result)


@cli.command("data-docs")
@json_option
def data_docs_command(as_json: bool) -> None:
    """Build the HTML site of the latest checks, and print its path."""
    from ingestion.cli.render import quality as render
    from ingestion.jobs.audit.data_docs import data_docs

    result = data_docs(Project.from_environment())
    show(as_json, render.data_docs_document(result), render.data_docs_text(result))
