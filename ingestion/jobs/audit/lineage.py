"""What is known of a value; :mod:`ingestion.jobs.audit.explain` finds it out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta


@dataclass(frozen=True)
class Version:
    """One version of a row, as one run wrote it."""

    value: float | None
    event: datetime
    created: datetime
    run_id: str | None
    """None if the file does not say."""
    receipt: str | None
    """That of the job that wrote it, below the lakehouse's root; None if no receipt lists it."""
    part: str
    """The file that contains it, below the lakehouse's root."""
    written_as: str | None
    """The part that its run wrote, if that has been merged since; None if it is the same."""
    sha256: str | None
    """Of the part that its run wrote; None if none was recorded."""
    is_older: bool = False
    """Whether the column was declared after this version was written: so the value is null."""
    reason: str | None = None
    """``definition`` if it was written only because a column was declared later, or its formula
    computes something else: it restates nothing."""
    was_unknown: bool = False
    """Whether the scanner did not know the column, which is optional: so the value is null."""
    definition: str | None = None
    """In what the formula that computed it differs from today's; None if in nothing, or if the run
    does not say."""


@dataclass(frozen=True)
class Bar:
    """The daily bar that a value describes."""

    open: datetime
    close: datetime
    state: str
    """Whether it was final at the value's time: open, closed or unknown."""
    source: str | None
    """Where the stored bar comes from; None if none is stored."""
    run_id: str | None
    """The run that stored it."""


@dataclass(frozen=True)
class KeptBack:
    """A later row of the symbol that was stopped at the door, and so decides nothing."""

    value: float | None
    event: datetime
    failed: tuple[str, ...]
    """The rules that it broke."""
    run_id: str


@dataclass(frozen=True)
class Online:
    """What the online store has of it."""

    value: float | None
    event: datetime | None
    created: datetime | None
    state: str
    """``served``, ``expired`` (there, and past its time to live) or ``none``."""


@dataclass(frozen=True)
class MissingSession:
    """A session without a bar inside the window of a recomputed value."""

    session: date
    accepted: str | None
    """When and why it was accepted; None while it is open, and the value null for it."""


@dataclass(frozen=True)
class Story:
    """One view's value."""

    view: str
    source: str
    """The scanner's column, or the formula with its own source."""
    meaning: str
    ttl: timedelta
    versions: tuple[Version, ...]
    """Of the row that decides at that time, the last written first: it supersedes the others."""
    expired: bool
    """Whether that row is past its time to live, and so no value at all."""
    recorded: Version | None
    """The version that had been written by then; None if none had."""
    bar: Bar | None
    supersedes: Version | None
    """The value before: of the row that decided until this one's event."""
    superseded_by: Version | None
    """The value after: of the next row, if there is one by now."""
    missing: tuple[MissingSession, ...]
    """Sessions that the market had and the value's window of bars lacks."""
    notes: tuple[str, ...]
    """What else is known of the bars of a recomputed value: withdrawn, or waiting."""
    kept_back: tuple[KeptBack, ...]
    """Rows since that one, up to that time, that broke a rule; the newest first."""
    online: Online | str | None
    """What is served now; a text why that is not known; None if not asked."""
    difference: str | None = None
    """How it differs from the value that the stored bars give, and why; None if it does not, or if
    nothing is computed from bars under this name."""


@dataclass(frozen=True)
class Explanation:
    """The story of a value in each view that has it."""

    symbol: str
    feature: str
    as_of: datetime
    stories: tuple[Story, ...]

    @property
    def found(self) -> bool:
        """Whether any view has a row, in the lakehouse, in quarantine or online."""
        return any(
            story.versions
            or story.kept_back
            or (isinstance(story.online, Online) and story.online.event)
            for story in self.stories
        )
