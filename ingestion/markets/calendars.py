"""The sessions of exchanges: those of ``exchange_calendars``, set right, and carried on.

Three sources, a later one replacing what an earlier one says of a date:

1. the calendar in ``exchange_calendars`` that :data:`ingestion.markets.exchanges.CALENDARS` names;
2. ``sessions.csv`` beside this module: sessions that those calendars lack or have wrongly, with
   sources;
3. the project's own ``feature_repo/sessions.csv``.

Some calendars end: holidays that follow the moon are announced one year at a time. Others go on
without them (:data:`~ingestion.markets.exchanges.HOLIDAYS_KNOWN_UNTIL`). After a calendar's end
each weekday is assumed to have its usual hours, those of most of its sessions in the calendar's
last year, and the session is marked as assumed. Rows of the project's own file after that end say
that somebody knows the year: up to the last of them nothing is assumed.

``sessions.csv`` has the columns ``exchange,date,open,close``: TradingView's exchange code, or
several with a space between; the local date; and local wall-clock times such as ``09:15``, empty
for a day on which the exchange is closed. A line that begins with ``#`` is a comment.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from datetime import time as wall_time
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import TZPATH, ZoneInfo

from ingestion.base import clock
from ingestion.base.errors import InputError
from ingestion.base.installed import installed_version
from ingestion.base.settings import Settings, variable
from ingestion.base.wording import reason_of
from ingestion.markets.cache import cached
from ingestion.markets.exchanges import CALENDARS, HOLIDAYS_KNOWN_UNTIL

if TYPE_CHECKING:  # numpy alone takes longer to import than a command may take to show its help
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["OWN_FILE", "SHIPPED", "Calendar", "calendar_of", "read_sessions"]

SHIPPED = Path(__file__).with_name("sessions.csv")
OWN_FILE = "sessions.csv"
"""Name of the project's own file, in the folder of ``feature_store.yaml``."""

_FIRST_DAY = "1990-01-01"
_KNOWN_UNTIL = 2030
"""Year up to which calendars without an end are loaded, at least."""
_LAST_DAY = "2100-12-31"
"""Up to here sessions are assumed."""
_USUAL = timedelta(days=365)
"""How long before a calendar's end the usual hours are looked for."""
_LINE = 80
"""Bytes, at most, of the line that names the version of the rules of time zones."""
_SELDOM = 10
"""Sessions of a weekday within that time, below which the weekday is no trading day."""
_HEADER = ["exchange", "date", "open", "close"]

Hours = tuple[wall_time, wall_time] | None
"""Local open and close of a session; None where the exchange is closed."""


@dataclass(frozen=True, eq=False)
class Calendar:
    """The sessions of one exchange: parallel arrays of shape ``(n,)``, strictly ascending."""

    labels: NDArray[np.datetime64]
    """Session dates, ``datetime64[D]``."""
    midnights: NDArray[np.int64]
    """Local 00:00 of the label."""
    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    assumed: NDArray[np.bool_]
    """Whether a session has its weekday's usual hours, because nothing is known of its date."""
    time_zone: str
    ends: date | None
    """Last date of which anything is known; None if the calendar goes on."""

    def of_label(self, label: date) -> int | None:
        """Return the position of a date's session; None if there is none."""
        import numpy as np

        day = np.datetime64(label, "D")
        i = int(np.searchsorted(self.labels, day))
        return i if i < len(self.labels) and self.labels[i] == day else None

    def of_close(self, close: int) -> int | None:
        """Return the position of the session that closes at an instant; None if none does."""
        i = int(self.closes.searchsorted(close))
        return i if i < len(self.closes) and self.closes[i] == close else None

    def between(self, first: date, last: date) -> range:
        """Return the positions of the sessions from one date to another, included."""
        import numpy as np

        start = int(np.searchsorted(self.labels, np.datetime64(first, "D")))
        return range(start, int(np.searchsorted(self.labels, np.datetime64(last, "D"), "right")))


def calendar_of(exchange: str) -> Calendar:
    """Return the sessions of an exchange of :data:`~ingestion.markets.exchanges.CALENDARS`.

    Raises
    ------
    InputError
        If a line of the project's own ``sessions.csv`` cannot be read.
    """
    until = max(_KNOWN_UNTIL, clock.now().year + 2)
    return _calendar_of(exchange, variable("TVFEAST_PROJECT"), until)


@cache
def _calendar_of(exchange: str, project: str | None, until: int) -> Calendar:
    extra = read_shipped().get(exchange, {}) | _own_sessions(project).get(exchange, {})
    calendar = _loaded(CALENDARS[exchange], until)
    return _set_right(calendar, extra) if extra else calendar


@cache
def _own_sessions(project: str | None) -> dict[str, dict[date, Hours]]:
    """Read the project's own file; once a process, for each value of ``TVFEAST_PROJECT``."""
    path = Settings.from_environment().feast_repository / OWN_FILE
    return read_sessions(path) if path.exists() else {}


@cache
def read_shipped() -> dict[str, dict[date, Hours]]:
    """Return what the calendars lack, by exchange and date."""
    return read_sessions(SHIPPED)


def read_sessions(path: Path) -> dict[str, dict[date, Hours]]:
    """Read a ``sessions.csv``: by exchange, the hours of some dates.

    Raises
    ------
    InputError
        If it cannot be read, naming file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {reason_of(error)}") from None
    found: dict[str, dict[date, Hours]] = {}
    is_header = True
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            cells = [cell.strip() for cell in next(csv.reader([line], strict=True))]
            if is_header:
                is_header = False
                if [cell.lower() for cell in cells] != _HEADER:
                    raise ValueError(f"the first line must be {','.join(_HEADER)}")
                continue
            exchanges, day, hours = _session(cells)
            for exchange in exchanges:
                if day in found.setdefault(exchange, {}):
                    raise ValueError(f"{exchange} {day} is there twice")
                found[exchange][day] = hours
        except (ValueError, csv.Error) as error:
            raise InputError(f"{path}, line {number}: {error}") from None
    return found


def _session(cells: list[str]) -> tuple[list[str], date, Hours]:
    if len(cells) != len(_HEADER):
        raise ValueError(f"{len(cells)} cells where {','.join(_HEADER)} are needed")
    exchanges, day, opens, closes = cells[0].split(), date.fromisoformat(cells[1]), *cells[2:]
    if unknown := [code for code in exchanges or [""] if code not in CALENDARS]:
        raise ValueError(
            f"{unknown[0]!r} is no exchange with a calendar; write TradingView's code, such as NSE"
        )
    if not opens and not closes:
        return exchanges, day, None
    if not (opens and closes):
        raise ValueError("open or close is empty; leave both empty for a closed day")
    hours = wall_time.fromisoformat(opens), wall_time.fromisoformat(closes)
    if hours[0].tzinfo or hours[1].tzinfo:
        raise ValueError("times are the exchange's own wall clock, without an offset")
    if hours[0] >= hours[1]:
        raise ValueError(f"closes at {closes}, which is not after {opens}")
    return exchanges, day, hours


@cache
def _loaded(calendar: str, until: int) -> Calendar:
    """Return a calendar as ``exchange_calendars`` has it, carried on."""
    import numpy as np

    def make() -> dict[str, Any]:
        made = _computed(calendar, until)
        ends = made.ends.isoformat() if made.ends else ""
        return vars(made) | {"time_zone": np.array(made.time_zone), "ends": np.array(ends)}

    code = sha256(Path(__file__).read_bytes()).hexdigest()
    known_until = HOLIDAYS_KNOWN_UNTIL.get(calendar)
    depends_on = (
        calendar,
        until,
        known_until,
        installed_version("exchange_calendars"),
        *tz_rules(),
        code,
    )
    found = cached(f"calendar {depends_on}", make)
    zone, ends = found.pop("time_zone").item(), found.pop("ends").item()
    return Calendar(**found, time_zone=zone, ends=date.fromisoformat(ends) if ends else None)


def tz_rules() -> list[str]:
    """Return which versions of the rules of time zones this machine has.

    Python takes a zone from the first of the system's folders that has it, else from the package
    ``tzdata``. A folder that does not name its version is known by its last change.
    """
    found = []
    for folder in map(Path, TZPATH):
        with suppress(OSError):
            found.append(f"{folder} {folder.stat().st_mtime_ns}")
        for name in ("tzdata.zi", "+VERSION"):
            with suppress(OSError), (folder / name).open("rb") as file:
                found.append(file.readline(_LINE).decode("ascii", "replace").strip())
    return [*found, installed_version("tzdata")]


def _computed(calendar: str, until: int) -> Calendar:
    # Two seconds to import, and up to three for a calendar of lunar holidays.
    import exchange_calendars
    import numpy as np
    import pandas as pd

    # Any short stretch has the bounds, and is cheap.
    stretch = exchange_calendars.get_calendar(calendar, start="2024-01-02", end="2024-01-31")
    start, end = pd.Timestamp(_FIRST_DAY), pd.Timestamp(year=until, month=12, day=31)
    if (bound := stretch.bound_min()) is not None:
        start = max(start, bound)
    bound = stretch.bound_max()
    end = end if bound is None else min(bound, end)
    ends = HOLIDAYS_KNOWN_UNTIL.get(calendar) or (end.date() if end == bound else None)
    loaded = exchange_calendars.get_calendar(calendar, start=start, end=end)
    zone = str(loaded.tz)
    opens, closes = loaded.schedule["open"], loaded.schedule["close"]
    labels = loaded.sessions.to_numpy("datetime64[D]")
    known = Calendar(
        labels=labels,
        midnights=_local(loaded.sessions, zone),
        opens=opens.to_numpy("datetime64[s]").astype(np.int64),
        closes=closes.to_numpy("datetime64[s]").astype(np.int64),
        assumed=np.zeros(len(labels), dtype=bool) if ends is None else labels > np.datetime64(ends),
        time_zone=zone,
        ends=ends,
    )
    return _carried_on(known, end.date())


def _carried_on(known: Calendar, last: date) -> Calendar:
    """Add assumed sessions after the last date of a calendar."""
    import pandas as pd

    usual = _usual_hours(known, last)
    days = pd.date_range(last + timedelta(days=1), _LAST_DAY, freq="D")
    days = days[days.weekday.isin(list(usual))]
    return _with_sessions(known, days, [usual[day] for day in days.weekday], assumed=True)


def _with_sessions(
    calendar: Calendar,
    days: pd.DatetimeIndex,
    hours: Sequence[tuple[wall_time, wall_time]],
    *,
    assumed: bool,
) -> Calendar:
    """Add sessions on days that have none, with the local hours of each."""
    import numpy as np
    import pandas as pd

    opens, closes = (days + pd.to_timedelta([str(each[end]) for each in hours]) for end in (0, 1))
    zone = calendar.time_zone
    added = {
        "labels": days.to_numpy("datetime64[D]"),
        "midnights": _local(days, zone),
        "opens": _local(opens, zone),
        "closes": _local(closes, zone),
        "assumed": np.full(len(days), assumed),
    }
    order = np.argsort(np.append(calendar.labels, added["labels"]))
    arrays: dict[str, Any] = {
        name: np.append(getattr(calendar, name), more)[order] for name, more in added.items()
    }
    return replace(calendar, **arrays)


def _usual_hours(known: Calendar, last: date) -> dict[int, tuple[wall_time, wall_time]]:
    """Return the local hours of most sessions of each weekday in a calendar's last year."""
    zone = ZoneInfo(known.time_zone)
    seen: dict[int, Counter[tuple[wall_time, wall_time]]] = {}
    for i in known.between(last - _USUAL, last):
        opens, closes = (
            datetime.fromtimestamp(int(each[i]), zone).time()
            for each in (known.opens, known.closes)
        )
        weekday = known.labels[i].item().weekday()
        seen.setdefault(weekday, Counter())[opens, closes] += 1
    return {
        weekday: hours.most_common(1)[0][0]
        for weekday, hours in seen.items()
        if hours.total() >= _SELDOM
    }


def _set_right(calendar: Calendar, extra: dict[date, Hours]) -> Calendar:
    """Replace what a calendar says of some dates."""
    import numpy as np
    import pandas as pd

    kept = ~np.isin(calendar.labels, np.array(list(extra), dtype="datetime64[D]"))
    arrays = ("labels", "midnights", "opens", "closes", "assumed")
    others = replace(calendar, **{name: getattr(calendar, name)[kept] for name in arrays})
    days = pd.DatetimeIndex([day for day, hours in extra.items() if hours])
    found = _with_sessions(others, days, list(filter(None, extra.values())), assumed=False)
    if calendar.ends is None:
        return found
    ends = max(calendar.ends, *extra)
    return replace(found, assumed=found.assumed & (found.labels > np.datetime64(ends)), ends=ends)


def _local(walls: pd.DatetimeIndex, zone: str) -> NDArray[np.int64]:
    """Return local wall-clock times as instants.

    Where clocks change at midnight there is no 00:00, or there are two; then the first instant.
    """
    import numpy as np

    first = np.ones(len(walls), dtype=bool)
    # A zone's name would be taken for one of pytz, which knows no daylight saving after 2037.
    instants = walls.tz_localize(ZoneInfo(zone), nonexistent="shift_forward", ambiguous=first)
    seconds: NDArray[np.int64] = instants.to_numpy("datetime64[s]").astype(np.int64)
    return seconds
