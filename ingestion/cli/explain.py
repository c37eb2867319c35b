"""Where a value comes from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from ingestion.base.wording import counted
from ingestion.cli.group import cli, examples, this_project
from ingestion.cli.options import AS_OF
from ingestion.cli.tables import Printing, Rows, rows_options, terminal_width

if TYPE_CHECKING:
    from ingestion.jobs.audit.lineage import Bar, Explanation, Online, Story, Version

_WIDTH = 100
_MOST_SESSIONS = 10
"""How many missing sessions are named."""


@cli.command(
    "explain",
    **examples(
        "explain NASDAQ:AAPL RSI",
        "explain NASDAQ:AAPL local_1d:RSI --as-of 2021-03-05T22:00Z",
    ),
)
@click.argument("symbol")
@click.argument("feature")
@click.option(
    "--as-of",
    type=AS_OF,
    show_default="now",
    help="The value that counted then; a date is its end in UTC.",
)
@click.option(
    "--online/--no-online",
    default=True,
    help="Look into the online store.",
)
@rows_options
def explain_command(printing: Printing, **arguments: Any) -> None:
    """Show where a value of a symbol comes from.

    FEATURE is a name, or GROUP:FEATURE for the one of a group.
    """
    from ingestion.jobs.audit.explain import ExplainRequest, explain

    result = explain(this_project(), ExplainRequest(**arguments))
    printing.show(result, explain_text, explain_rows)


def explain_rows(result: Explanation) -> Rows:
    """Return the rows of a value's history, and what is served."""
    names = ("group", "what", "value", "known_at", "created", "run_id", "part")
    values: list[dict[str, Any]] = []
    for story in result.stories:
        superseded = ["superseded"] * (len(story.versions) - 1)
        told = [*zip(["counts", *superseded], story.versions, strict=False)]
        told += [(what, each) for what, each in (
            ("before", story.supersedes), ("after", story.superseded_by),
        ) if each]  # fmt: skip
        for what, each in told:
            cells = (story.view, what, each.value, each.event, each.created, each.run_id, each.part)
            values.append(dict(zip(names, cells, strict=True)))
        if story.online is not None and not isinstance(story.online, str):
            served = story.online
            of_row = (story.view, "online", served.value, served.event, served.created)
            values.append(dict(zip(names, of_row, strict=False)))
    return Rows(names, values)


def explain_text(result: Explanation) -> str:
    """Return a value's story for people, a paragraph a view."""
    title = f"{result.symbol} {result.feature}, as of {_second(result.as_of)}"
    return "\n".join([title, *(line for story in result.stories for line in _story(story))])


def _story(story: Story) -> Iterator[str]:
    yield ""
    yield f"{story.view}: {story.meaning}"
    yield from textwrap.wrap(
        story.source, terminal_width() or _WIDTH, initial_indent="  ", subsequent_indent="    "
    )
    if not story.versions:
        yield "  no row"
    for number, version in enumerate(story.versions):
        how = "superseded: " if number else ""
        yield f"  {how}{_value(version.value)}, known at {_second(version.event)}"
        yield from _written(version)
    if story.expired:
        yield f"  EXPIRED: past its time to live of {story.ttl}, so no value"
    if story.versions and story.recorded != story.versions[0]:
        recorded = story.recorded
        yield (
            f"  as recorded then: {_value(recorded.value)}, created {_second(recorded.created)}"
            if recorded
            else "  as recorded then: nothing; the row was written later"
        )
    if story.bar is not None:
        yield f"  {_bar(story.bar)}"
    if story.difference is not None:
        yield f"  {story.difference}"
    for each in story.missing[:_MOST_SESSIONS]:
        state = f"accepted on {each.accepted}" if each.accepted else "open: the value is null"
        yield f"  session {each.session} is missing in its window, {state}"
    if (more := len(story.missing) - _MOST_SESSIONS) > 0:
        yield f"  and {counted(more, 'later session')}"
    yield from (f"  {note}" for note in story.notes)
    for label, other in (("before", story.supersedes), ("after", story.superseded_by)):
        if other is not None:
            yield f"  {label}: {_value(other.value)}, known at {_second(other.event)}"
    for kept in story.kept_back:
        rules = ", ".join(kept.failed)
        yield f"  KEPT BACK: {_value(kept.value)}, known at {_second(kept.event)}: {rules}"
        yield f"    by run {kept.run_id}, in its quarantine.parquet"
    if story.online is not None:
        yield f"  online: {_online(story.online)}"


def _written(version: Version) -> Iterator[str]:
    yield f"    written {_second(version.created)} by run {version.run_id or '(unknown)'}"
    if version.is_older:
        yield "    null because the column was declared after this row was written"
    if version.was_unknown:
        yield "    null because the scanner did not know the column, which is optional"
    if version.reason == "definition":
        yield "    written because of a column's declaration or formula; it restates nothing"
    if version.definition:
        yield f"    computed by another definition than today's: {version.definition}"
    merged = f", merged from {version.written_as}" if version.written_as else ""
    yield f"    {version.part}{merged}"
    yield f"    {f'SHA-256 {version.sha256}' if version.sha256 else 'no hash was recorded'}"
    if version.receipt:
        yield f"    {version.receipt}"


def _bar(bar: Bar) -> str:
    stored = f"stored by run {bar.run_id} from {bar.source}" if bar.source else "not stored"
    return f"bar {_second(bar.open)} to {_second(bar.close)}, {bar.state} by then; {stored}"


def _online(online: Online | str) -> str:
    if isinstance(online, str):
        return f"not known: {online}"
    if online.event is None:
        return "no row"
    return f"{_value(online.value)}, known at {_second(online.event)}, {online.state}"


def _value(value: float | None) -> str:
    return "null" if value is None else repr(value)


def _second(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M:%S} UTC"
