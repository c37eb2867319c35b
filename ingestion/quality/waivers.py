"""Waivers: somebody accepts, until a date, that a check is broken.

A waiver is a TOML file below ``feature_repo/waivers/``, versioned like the limits that it sets
aside::

    owner = "A. Person"
    reason = "exchange outage of 12 January, confirmed by the vendor"
    expires = 2026-01-16
    waives = ["GROUP: unmoved share"]

It is valid to the end of that day, UTC. Each entry names one check of one group, as findings do.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from ingestion.catalog import FeatureGroup
from ingestion.quality.rules import row_rules

FOLDER = "waivers"
"""Below the Feast repository."""

_MEMBERS = ("owner", "reason", "expires", "waives")


@dataclass(frozen=True)
class Waiver:
    """One file."""

    path: Path
    owner: str
    reason: str
    expires: date
    """Last day on which it is valid, UTC."""
    waives: tuple[str, ...]
    """Checks, as ``group: check``."""


@dataclass(frozen=True)
class Waivers:
    """All waivers of a project."""

    valid: tuple[Waiver, ...]
    problems: tuple[str, ...]
    """Of each file that is expired or malformed: which, why, what to do."""

    def of(self, group: str, check: str) -> Waiver | None:
        """Return the waiver of a check, if there is one."""
        name = f"{group}: {check}"
        return next((waiver for waiver in self.valid if name in waiver.waives), None)

    def of_group(self, group: str) -> frozenset[str]:
        """Return the checks of a group that are waived."""
        names = (name.partition(": ") for waiver in self.valid for name in waiver.waives)
        return frozenset(check for of, _, check in names if of == group)


def read_waivers(feast_repository: Path, groups: Iterable[FeatureGroup], at: datetime) -> Waivers:
    """Read all waivers.

    Parameters
    ----------
    groups
        All groups: what a waiver may name is a check of one of them.
    at
        The instant by which they may be expired.
    """
    folder = feast_repository / FOLDER
    known = {f"{group.name}: {check}" for group in groups for check in waivable(group)}
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    valid, problems = [], []
    for path in paths:
        if path.name.startswith("."):
            continue
        try:
            waiver = _read(path, known)
        except ValueError as error:
            problems.append(f"{path}: {error}; correct or delete it")
            continue
        if waiver.expires < at.date():
            problems.append(
                f"{path}: expired on {waiver.expires}; delete it, or let {waiver.owner} renew it"
            )
        else:
            valid.append(waiver)
    return Waivers(tuple(valid), tuple(problems))


_OF_FEATURES = ("lost share", "same share", "still share", "unit", "parity")


def waivable(group: FeatureGroup) -> Iterator[str]:
    """Yield the names of all checks that a group can have."""
    yield from ("columns", "rows", "quarantined share", "unmoved share", "age hours", "coverage")
    yield from (rule.check for rule in row_rules(group))
    yield from (f"{column.name} type" for column in group.columns)
    yield from (f"{column.name} null share" for column in group.served)
    for column in group.features:
        yield from (f"{column.name} {what}" for what in _OF_FEATURES)


def _read(path: Path, known: Collection[str]) -> Waiver:
    """Read a waiver.

    Raises
    ------
    ValueError
        If it is not one.
    """
    if path.suffix != ".toml" or not path.is_file():
        raise ValueError("a waiver is a file named *.toml")
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not TOML ({error})") from None
    if unknown := document.keys() - set(_MEMBERS):
        raise ValueError(f"unknown member {sorted(unknown)[0]!r}; a waiver has {_MEMBERS}")
    expires = document.get("expires")
    if type(expires) is not date:  # a datetime is a date to isinstance
        raise ValueError("expires must be a date such as 2026-01-16, without quotes")
    return Waiver(
        path=path,
        owner=_text(document, "owner"),
        reason=_text(document, "reason"),
        expires=expires,
        waives=_names(document, known),
    )


def _text(document: dict[str, Any], member: str) -> str:
    value = document.get(member)
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{member} must be a text")
    return value


def _names(document: dict[str, Any], known: Collection[str]) -> tuple[str, ...]:
    names = document.get("waives")
    if not isinstance(names, list) or not names:
        raise ValueError('waives must list checks, such as ["GROUP: FEATURE unit"]')
    for name in names:
        if not isinstance(name, str) or name not in known:
            raise ValueError(f"waives {name!r}, which is no check of any group")
    return tuple(names)
