"""How instants, durations and numbers are written."""

from __future__ import annotations

from datetime import datetime, timedelta


def age(duration: timedelta) -> str:
    """Return a duration in its two largest units: ``3 d 17 h``, ``1 h 05 m``."""
    minutes = int(duration.total_seconds() // 60)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    return f"{days} d {hours:02} h" if days else f"{hours} h {minutes:02} m"


def figure(value: float | None) -> str:
    """Return a number with two decimals, a dash for none."""
    return "–" if value is None else f"{value:.2f}"


def minute(instant: datetime) -> str:
    """Return an instant to the minute."""
    return f"{instant:%Y-%m-%d %H:%M} UTC"
