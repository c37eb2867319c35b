"""What was recorded of the members of a universe, and an oracle of plain lists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from ingestion.base.arrow import to_rows
from ingestion.catalog import SYMBOLS, UNIVERSE_MEMBERS
from ingestion.jobs.compute.cross_sections import ComparedGroup, cross_sections
from ingestion.lakehouse import (
    append_rows,
    list_parts,
    read_current,
)
from ingestion.project import Project

GROUPS = """
from ingestion.catalog import Column, CrossSection, FeatureGroup, Files, Quality

SIGNALS = FeatureGroup(
    name="signals", meaning="scores", source=Files(), ttl="2d", features=[Column("score")]
)
CAPS = FeatureGroup(
    name="caps", meaning="sizes", source=Files(), ttl="90d",
    features=[Column("cap"), Column("currency", "string")],
)
RANKED = FeatureGroup(
    name="ranked",
    meaning="scores among the members",
    source=CrossSection(
        of="signals:score",
        by=["rank", "percentile", "zscore", "winsorised", "neutralised"],
        universe="club",
        against=["sector", "market", "size"],
        size="caps:cap",
        currency="caps:currency",
        tails=0.1,
    ),
    ttl="4d",
    quality=Quality(max_lost_share=1.0),
)
"""
NOW = datetime(2021, 3, 15, 6, tzinfo=UTC)
LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
MEMBERS = [f"{exchange}:M{n:02}" for exchange in ("NASDAQ", "NYSE") for n in range(14)]
SECTORS = ("Finance", "Energy", "Retail")
NEW_YORK_CLOSES = [datetime(2021, 3, day, 21, tzinfo=UTC) for day in (1, 2, 3, 4, 5, 8, 9, 10, 11)]
"""Before clocks change on the 14th."""
COMPARED = [*NEW_YORK_CLOSES, datetime(2021, 3, 12, 21, tzinfo=UTC)]
"""On the 12th scores of the two days before are still valid."""


def moment(day: int, hour: float = 0) -> datetime:
    return datetime(2021, 3, day, tzinfo=UTC) + timedelta(hours=hour)


def with_groups(project: Project, text: str) -> Project:
    folder = project.feast_repository / "groups"
    folder.mkdir(exist_ok=True)
    (folder / "own.py").write_text(text)
    vars(project).pop("catalog", None)
    return project


class World:
    """What was recorded: plain lists that tests and the oracle read, and the lakehouse has too."""

    def __init__(self, project: Project) -> None:
        self.project, self.created = project, NOW - timedelta(days=1)
        self.scores: list[dict[str, Any]] = []
        self.caps: list[dict[str, Any]] = []
        self.symbols: list[dict[str, Any]] = []
        self.spans: list[dict[str, Any]] = []

    def add(self, kind: str, *rows: dict[str, Any]) -> None:
        named = {"scores": "signals", "caps": "caps"}.get(kind)
        others = {"symbols": SYMBOLS, "spans": UNIVERSE_MEMBERS}
        dataset = self.project.catalog.group(named) if named else others[kind]
        self.created += timedelta(seconds=1)
        if kind != "symbols":
            rows = tuple({"created_timestamp": self.created, **row} for row in rows)
        getattr(self, kind).extend(rows)
        append_rows(self.project.lakehouse, dataset, list(rows), f"run-{self.created:%H%M%S}")

    def score(self, symbol: str, event: datetime, score: float | None) -> dict[str, Any]:
        return {"symbol": symbol, **_stamps(event), "score": score}

    def cap(self, symbol: str, event: datetime, cap: float, currency: str | None) -> dict[str, Any]:
        return {"symbol": symbol, **_stamps(event), "cap": cap, "currency": currency}

    def symbol(self, symbol: str, since: datetime, sector: str | None) -> dict[str, Any]:
        exchange = symbol.partition(":")[0]
        known = {"sector": sector, "exchange": exchange, "active": True}
        return {"symbol": symbol, "valid_from": since, **known}

    def member(self, symbol: str, since: datetime, until: datetime | None = None) -> dict[str, Any]:
        span = {"valid_from": since, "valid_until": until, "event_timestamp": since}
        return {"universe": "club", "symbol": symbol, **span, "source": "import"}

    def made(self) -> ComparedGroup:
        (group,) = cross_sections(self.project).groups
        return group

    def rows(self) -> list[dict[str, Any]]:
        group = self.project.catalog.group("ranked")
        return to_rows(read_current(list_parts(self.project.lakehouse, group), group))

    def oracle(self, at: datetime) -> dict[str, dict[str, Any]]:
        """What each member's row of an instant must be, from the plain lists."""
        members = sorted(
            each["symbol"]
            for each in self.spans
            if each["valid_from"] <= at
            and (each["valid_until"] is None or at < each["valid_until"])
        )
        scores = {each: self._valid(self.scores, each, at, 2) for each in members}
        caps = {each: self._valid(self.caps, each, at, 90) for each in members}
        known = {
            each: max(
                (row for row in self.symbols if row["symbol"] == each and row["valid_from"] <= at),
                key=lambda row: row["valid_from"],
                default={},
            )
            for each in members
        }
        there = {
            each: row["score"] for each, row in scores.items() if row and row["score"] is not None
        }
        neutral = {
            each: value
            for each, value in there.items()
            if known[each].get("sector") and caps[each] and caps[each]["currency"]
        }
        values = list(there.values())
        mean = math.fsum(values) / len(values)
        deviation = math.sqrt(math.fsum((each - mean) ** 2 for each in values) / len(values))
        low, high = quantile(values, 0.1), quantile(values, 0.9)
        left = least_squares(
            list(neutral.values()),
            [
                [known[each]["sector"] for each in neutral],
                [each.partition(":")[0] for each in neutral],
                [caps[each]["currency"] for each in neutral],
            ],
            [math.log(caps[each]["cap"]) for each in neutral],
        )
        residual = dict(zip(neutral, left, strict=True))
        rows = {}
        for each in members:
            value = there.get(each)
            row: dict[str, Any] = dict.fromkeys(("rank", "percentile", "zscore", "winsorised"))
            if value is not None:
                below = sum(other < value for other in values)
                equal = sum(other == value for other in values)
                rank = below + (equal + 1) / 2
                row = {
                    "rank": rank,
                    "percentile": (rank - 1) / (len(values) - 1),
                    "zscore": (value - mean) / deviation,
                    "winsorised": min(max(value, low), high),
                }
            rows[each] = {f"score_{name}": cell for name, cell in row.items()} | {
                "score_neutralised": residual.get(each),
                "universe_size": len(members),
                "universe_hash": sha256("\n".join(members).encode()).hexdigest(),
            }
        return rows

    @staticmethod
    def _valid(
        rows: Sequence[dict[str, Any]], symbol: str, at: datetime, days: int
    ) -> dict[str, Any] | None:
        oldest = at - timedelta(days=days)
        valid = [
            row
            for row in rows
            if row["symbol"] == symbol and oldest <= row["event_timestamp"] <= at
        ]
        by_time = [(row["event_timestamp"], row["created_timestamp"]) for row in valid]
        return valid[by_time.index(max(by_time))] if valid else None


def _stamps(event: datetime) -> dict[str, Any]:
    return {"timestamp": int(event.timestamp()), "event_timestamp": event}


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def least_squares(
    values: Sequence[float], categories: Sequence[Sequence[str]], number: Sequence[float]
) -> list[float]:
    """The residuals by NumPy's own solver, with an indicator for each category but its first."""
    columns = [np.ones(len(values)), np.array(number)]
    for each in categories:
        columns += [
            np.array([one == name for one in each], float) for name in sorted(set(each))[1:]
        ]
    design, of = np.column_stack(columns), np.array(values)
    return list(of - design @ np.linalg.lstsq(design, of, rcond=None)[0])


def approx(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: pytest.approx(value, rel=1e-9, abs=1e-9) if isinstance(value, float) else value
        for name, value in row.items()
    }


def check(world: World, closes: Sequence[datetime]) -> None:
    rows = world.rows()
    assert sorted({row["event_timestamp"] for row in rows}) == list(closes)
    for close in closes:
        expected = world.oracle(close)
        found = {row["symbol"]: row for row in rows if row["event_timestamp"] == close}
        assert found.keys() == expected.keys()
        for symbol, row in expected.items():
            assert {name: found[symbol][name] for name in row} == approx(row), (symbol, close)


SMALL = """
from ingestion.catalog import Column, CrossSection, FeatureGroup, Files, Quality

SIGNALS = FeatureGroup(
    name="signals", meaning="scores", source=Files(), ttl="2d",
    features=[Column("score"), Column("coin", "string")],
)
RANKED = FeatureGroup(
    name="ranked", meaning="among the members", ttl="4d",
    source=CrossSection(
        of="signals:score", by=["rank", "zscore", "neutralised"], against="market",
        universe="club", at="{at}",
    ),
)
"""


class SmallWorld(World):
    """Another universe of few members, whose scores have a coin."""

    def __init__(self, project: Project, at: str = "close") -> None:
        super().__init__(with_groups(project, SMALL.replace("{at}", at)))

    def value(self, symbol: str, event: datetime, score: float, coin: str | None = None) -> None:
        self.add("scores", self.score(symbol, event, score) | {"coin": coin})

    def events(self) -> dict[str, list[datetime]]:
        found: dict[str, list[datetime]] = {}
        for row in self.rows():
            found.setdefault(row["symbol"], []).append(row["event_timestamp"])
        return found

    def cells(self, name: str) -> dict[str, float | None]:
        return {row["symbol"]: row[name] for row in self.rows()}
