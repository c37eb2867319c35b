"""A value's story."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from ingestion.jobs.audit.lineage import Bar, Explanation, Online, Story, Version
from ingestion.runs.receipt import plain

_WIDTH = 100
_NAMED = 10
"""Missing sessions that are named one by one."""


def explain_document(result: Explanation) -> dict[str, Any]:
    """Return a value's story for ``--json``; durations are seconds."""
    document: dict[str, Any] = plain(result)
    return document


def explain_text(result: Explanation) -> str:
    """Return a value's story for people, a paragraph a view."""
    title = f"{result.symbol} {result.feature}, as of {_second(result.as_of)}"
    return "\n".join([title, *(line for story in result.stories for line in _story(story))])


def _story(story: Story) -> Iterator[str]:
    yield ""
    yield f"{story.view}: {story.meaning}"
    yield from textwrap.wrap(story.source, _WIDTH, initial_indent="  ", subsequent_indent="    ")
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
    for each in story.missing[:_NAMED]:
        state = f"accepted on {each.accepted}" if each.accepted else "open: the value is null"
        yield f"  session {each.session} is missing in its window, {state}"
    if (more := len(story.missing) - _NAMED) > 0:
        yield f"  and {more:,} later sessions"
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
    merged = f", merged from {version.written_as}" if version.written_as else ""
    yield f"    {version.part}{merged}"
    yield f"    {f'SHA-256 {version.sha256}' if version.sha256 else 'no hash was recorded'}"
    if version.receipts:
        yield f"    {', '.join(version.receipts)}"


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
