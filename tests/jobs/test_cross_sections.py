"""Members of a universe compared with each other: as known then, once each, day by day."""

from __future__ import annotations

import json
import math
import random
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.base.arrow import to_rows
from ingestion.base.errors import GateRefused, InputError
from ingestion.catalog import SYMBOLS, UNIVERSE_MEMBERS
from ingestion.cli.commands import cli
from ingestion.datasets import Schedule
from ingestion.datasets.panel import answers
from ingestion.jobs.audit.compact import compact
from ingestion.jobs.audit.explain import ExplainRequest, explain
from ingestion.jobs.audit.validate import validate
from ingestion.jobs.compute import comparison, cross_section_proof
from ingestion.jobs.compute.cross_section_proof import verify_project
from ingestion.jobs.compute.cross_sections import ComparedGroup, cross_sections
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.panel import PanelRequest, write_panel
from ingestion.jobs.serve.prove import Finding, prove
from ingestion.jobs.serve.reproduce import reproduce
from ingestion.jobs.serve.select import SelectRequest, select
from ingestion.jobs.serve.verify_online import verify_online
from ingestion.jobs.workspace import make_workspace
from ingestion.lakehouse import (
    append_rows,
    list_parts,
    read_current,
    read_members,
    read_part,
    read_symbols,
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


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Callable[[datetime], None]:
    def set_now(instant: datetime) -> None:
        monkeypatch.setenv("TVFEAST_NOW", instant.isoformat())

    set_now(NOW)
    return set_now


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


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Nine sessions of 28 members: late scores, missing ones, leavers, sectors that change."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TVFEAST_PROJECT", str(make_workspace(tmp_path_factory.mktemp("world"))))
        world = World(with_groups(Project.from_environment(), GROUPS))
    chance = random.Random(7)
    world.add("spans", *(world.member(each, LONG_AGO) for each in MEMBERS[3:]))
    world.add("spans", *(world.member(each, LONG_AGO, moment(4, 12)) for each in MEMBERS[:2]))
    world.add("spans", world.member(MEMBERS[2], moment(9)))
    sectors = {each: chance.choice(SECTORS) for each in MEMBERS if "5" not in each}
    world.add("symbols", *(world.symbol(each, LONG_AGO, sectors[each]) for each in sectors))
    world.add("symbols", world.symbol(MEMBERS[6], moment(3, 12), "Retail"))
    world.add("symbols", world.symbol(MEMBERS[5], moment(9), "Energy"))  # it had none before
    named = zip(MEMBERS, ["USD", "EUR", "USD"] * 10, strict=False)
    sizes = {each: (chance.lognormvariate(20, 2), currency) for each, currency in named}
    sized = LONG_AGO + timedelta(days=400)
    world.add(
        "caps", *(world.cap(each, sized, *sizes[each]) for each in MEMBERS if "M09" not in each)
    )
    for close in NEW_YORK_CLOSES:
        scores = []
        for each in MEMBERS:
            event = close - timedelta(minutes=chance.choice([0, 0, 90]))
            score = None if chance.random() < 0.1 else float(round(chance.gauss(0, 3)))
            scores += [world.score(each, event, score)] if chance.random() < 0.8 else []
        world.add("scores", *scores)
    return world


@pytest.fixture
def world(
    recorded: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    now: Callable[[datetime], None],
) -> World:
    """A copy that a test may add to."""
    shutil.copytree(recorded.project.folder, tmp_path / "workspace")
    monkeypatch.setenv("TVFEAST_PROJECT", str(tmp_path / "workspace"))
    world = World(Project.from_environment())
    world.created = recorded.created
    for kind in ("scores", "caps", "symbols", "spans"):
        getattr(world, kind).extend(getattr(recorded, kind))
    return world


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


def test_each_day_is_what_plain_lists_give(world: World):
    done = world.made()
    check(world, COMPARED)
    assert (done.days, done.unknown_days, done.quarantined, done.restated) == (10, 0, 0, 0)
    assert done.written == len(world.rows()) == sum(len(world.oracle(at)) for at in COMPARED)
    cells = [row["score_rank"] for row in world.rows()]
    assert done.nulls["score_rank: no value"] == sum(cell is None for cell in cells) > 0
    assert done.nulls["score_neutralised: no sector"] > 0
    assert done.nulls["score_neutralised: no size"] > 0
    assert world.made().days == 0  # nothing is new


def versions(world: World) -> int:
    """How many rows are stored, all versions."""
    group = world.project.catalog.group("ranked")
    parts = list_parts(world.project.lakehouse, group)
    return sum(read_part(part, group).num_rows for part in parts)


def test_days_that_come_later_change_no_earlier_day(world: World, now: Callable[[datetime], None]):
    now(moment(5, 6))
    world.made()
    before = world.rows()
    now(NOW)
    later = world.made()
    assert (later.restated, later.unchanged) == (0, 0)
    assert [row for row in world.rows() if row["event_timestamp"] < moment(5, 6)] == before
    check(world, COMPARED)


def test_a_restated_member_restates_its_days_and_no_other(world: World):
    world.made()
    old, stored = world.rows(), versions(world)
    close = NEW_YORK_CLOSES[3]
    world.add("scores", world.score("NYSE:M09", close, 500.0))
    done = world.made()
    check(world, COMPARED)
    new = world.rows()
    changed = [a for a, b in zip(old, new, strict=True) if a != b]
    # The score counts until its time to live is over, unless a newer one came.
    assert {row["event_timestamp"] for row in changed} <= set(NEW_YORK_CLOSES[3:5])
    assert done.days == 2  # the 4th and the 5th: it is valid for two days
    assert done.written == done.restated == len(changed) == versions(world) - stored
    of_day = [row for row in new if row["event_timestamp"] == close]
    has_value = {row["symbol"] for row in of_day if row["score_zscore"] is not None}
    assert {row["symbol"] for row in changed if row["event_timestamp"] == close} == has_value


def test_who_joins_leaves_or_changes_sector_counts_from_then_on(world: World):
    world.made()
    world.add("symbols", world.symbol("NYSE:M10", moment(8, 12), "Energy"))
    world.add("spans", world.member("NASDAQ:NEW", moment(9, 12)))
    done = world.made()
    check(world, COMPARED)
    rows = {(row["symbol"], row["event_timestamp"].day): row for row in world.rows()}
    assert ("NASDAQ:NEW", 9) in rows
    assert ("NASDAQ:NEW", 8) not in rows
    sizes = {day: row["universe_size"] for (_, day), row in rows.items()}
    assert sizes == {1: 27, 2: 27, 3: 27, 4: 25, 5: 25, 8: 25, 9: 27, 10: 27, 11: 27, 12: 27}
    assert done.restated


def test_the_order_in_which_rows_were_written_changes_nothing(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    world.made()
    monkeypatch.setenv("TVFEAST_PROJECT", str(make_workspace(tmp_path / "other")))
    other = World(with_groups(Project.from_environment(), GROUPS))
    for kind in ("spans", "symbols", "caps", "scores"):
        rows = list(getattr(world, kind))
        random.Random(1).shuffle(rows)
        other.add(kind, *rows)
    other.made()
    assert without_created(other.rows()) == without_created(world.rows())


def without_created(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k != "created_timestamp"} for row in rows]


def test_without_the_cache_all_days_are_compared_again_and_nothing_is_written(world: World):
    world.made()
    (world.project.lakehouse_at / "_caches" / "cross_section.ranked.zip").unlink()
    done = world.made()
    assert (done.days, done.written) == (10, 0)
    assert done.unchanged == len(world.rows())


def test_another_declaration_restates_all_days_by_itself(world: World):
    world.made()
    with_groups(world.project, GROUPS.replace("tails=0.1", "tails=0.3"))
    done = world.made()
    assert done.days == 10
    assert done.written == done.restated > 0


def test_a_backfill_of_some_dates_looks_at_these_alone(world: World):
    span = date(2021, 3, 3), date(2021, 3, 5)
    (done,) = cross_sections(world.project, dates=span).groups
    assert done.days == 3
    assert {row["event_timestamp"] for row in world.rows()} == set(NEW_YORK_CLOSES[2:5])
    (again,) = cross_sections(world.project, dates=span).groups
    assert (again.written, again.unchanged) == (0, done.written)
    world.made()
    check(world, COMPARED)
    with pytest.raises(InputError, match="is after --to"):
        cross_sections(world.project, dates=span[::-1])


def test_the_proof_names_what_is_known_too_early_and_nothing_on_the_clean_twin(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cross_section_proof, "DAYS", 3)  # the 4th, 9th and 12th
    clean = verify_project(world.project)
    assert clean.passed
    assert (clean.days, clean.features[0]) == (3, "ranked:score_rank")

    def todays_members(lakehouse: Any, universe: str) -> pa.Table:
        rows = read_members(lakehouse, universe).to_pylist()
        inside = [row for row in rows if row["valid_until"] is None]
        early = [row | {"valid_from": LONG_AGO, "event_timestamp": LONG_AGO} for row in inside]
        return pa.Table.from_pylist(early, read_members(lakehouse, universe).schema)

    def todays_sectors(lakehouse: Any) -> pa.Table:
        rows = read_symbols(lakehouse)
        last = {row["symbol"]: row | {"valid_from": LONG_AGO} for row in rows.to_pylist()}
        return pa.Table.from_pylist(list(last.values()), rows.schema)

    def tomorrows_values(lakehouse: Any, features: Any, slices: Any, **options: Any) -> Any:
        day = 86_400_000_000
        later = (each._replace(instants=each.instants + day) for each in slices)
        return answers(lakehouse, features, later, **options)

    plants = {
        "read_members": (todays_members, "ranked:universe"),
        "read_symbols": (todays_sectors, "ranked:score_neutralised"),
        "answers": (tomorrows_values, "ranked:score_zscore"),
    }
    for name, (planted, leak) in plants.items():
        with monkeypatch.context() as patched:
            patched.setattr(comparison, name, planted)
            report = verify_project(world.project)
        assert leak in [each.feature for each in report.leaks], name
        assert "later days taken away" in str(report.leaks[0])


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


@pytest.fixture
def empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now: Callable[[datetime], None]
) -> Project:
    monkeypatch.setenv("TVFEAST_PROJECT", str(make_workspace(tmp_path / "workspace")))
    return Project.from_environment()


def test_a_day_of_several_exchanges_is_compared_at_its_last_close(
    empty: Project, now: Callable[[datetime], None]
):
    now(moment(3, 6))
    world = SmallWorld(empty)
    for symbol in ("TSE:7203", "NYSE:KO"):
        world.add("spans", world.member(symbol, LONG_AGO))
    world.value("TSE:7203", moment(2, 6), 5)  # the close of Tokyo
    world.value("NYSE:KO", moment(1, 21), 7)
    world.value("NYSE:KO", moment(2, 21), 3)
    world.made()
    closes = [moment(1, 21), moment(2, 21)]
    assert world.events() == {"TSE:7203": closes, "NYSE:KO": closes}
    assert world.cells("score_rank") == {"TSE:7203": 2.0, "NYSE:KO": 1.0}


def test_who_joins_between_two_closes_of_a_day_does_not_move_the_first(empty: Project):
    world = SmallWorld(empty)
    for symbol in ("TSE:7203", "TSE:6758"):
        world.add("spans", world.member(symbol, LONG_AGO))
        world.value(symbol, moment(11, 6), 5)
    world.add("spans", world.member("NYSE:KO", moment(11, 12)))
    world.value("NYSE:KO", moment(11, 21), 7)
    (done,) = cross_sections(world.project).groups
    assert done.quarantined == 0
    of_day = [at for at in world.events()["TSE:7203"] if at.day == 11]
    assert of_day == [moment(11, 6), moment(11, 21)]


def test_a_time_of_day_counts_on_days_with_a_session(
    empty: Project, now: Callable[[datetime], None]
):
    now(moment(9, 6))
    world = SmallWorld(empty, at="20:30")
    for symbol in ("NYSE:KO", "NYSE:XOM"):
        world.add("spans", world.member(symbol, LONG_AGO))
        world.value(symbol, moment(5, 21), 5)
        world.value(symbol, moment(4, 20.5), len(symbol))
        world.value(symbol, moment(5, 20.6), 9)
    world.made()
    # Friday's values are of after 20:30, and Monday's 20:30 is past their two days.
    assert world.events()["NYSE:KO"] == [moment(4, 20.5), moment(5, 20.5)]
    assert world.cells("score_rank") == {"NYSE:KO": 1.0, "NYSE:XOM": 2.0}


def test_a_coin_counts_once_whatever_pairs_it_has(empty: Project, now: Callable[[datetime], None]):
    now(moment(2, 1))
    world = SmallWorld(empty)
    pairs = {"BINANCE:BTCUSDT": "BTC", "COINBASE:BTCUSD": "BTC", "BINANCE:ETHUSDT": "ETH"}
    for symbol, coin in pairs.items():
        world.add("spans", world.member(symbol, LONG_AGO))
        world.value(symbol, moment(1, 20), {"BTC": 1.0, "ETH": 3.0}[coin], coin)
    world.value("COINBASE:BTCUSD", moment(1, 22), 7.0, "BTC")  # the newest row of the coin counts
    world.made()
    assert world.cells("universe_size") == dict.fromkeys(pairs, 2)
    assert world.cells("score_rank") == {
        "BINANCE:BTCUSDT": 2.0,
        "COINBASE:BTCUSD": 2.0,
        "BINANCE:ETHUSDT": 1.0,
    }
    assert world.cells("score_zscore")["BINANCE:BTCUSDT"] == 1.0


@pytest.mark.parametrize(
    ("scores", "reason"),
    [
        ({"NYSE:KO": 5.0}, "score_rank: nothing to compare"),
        ({"NYSE:KO": 5.0, "NYSE:XOM": 5.0}, "score_zscore: nothing to compare"),
    ],
)
def test_what_is_not_defined_is_null_and_counted(
    empty: Project, now: Callable[[datetime], None], scores: dict[str, float], reason: str
):
    now(moment(2, 6))
    world = SmallWorld(empty)
    for symbol, score in scores.items():
        world.add("spans", world.member(symbol, LONG_AGO))
        world.value(symbol, moment(1, 21), score)
    done = world.made()
    assert done.nulls[reason] == len(scores)
    assert done.nulls["score_neutralised: no market"] == len(scores)  # nobody recorded one
    assert set(world.cells("score_zscore").values()) == {None}
    assert done.quarantined == 0


def test_days_whose_members_nobody_knows_have_no_rows_and_are_counted(
    empty: Project, now: Callable[[datetime], None]
):
    now(moment(6))
    world = SmallWorld(empty)
    world.add("spans", world.member("NYSE:KO", moment(4)), world.member("NYSE:XOM", moment(4)))
    for day in (1, 2, 3, 4, 5):
        world.value("NYSE:KO", moment(day, 21), 1)
    done = world.made()
    assert done.unknown_days == 3
    assert [at.day for at in world.events()["NYSE:XOM"]] == [4, 5]


def test_a_universe_that_nobody_knows_is_an_error_with_what_to_do(empty: Project):
    world = SmallWorld(empty)
    with pytest.raises(InputError, match=r"no universe 'club'.*universe import"):
        cross_sections(world.project)


def test_rows_are_gated_served_selected_explained_and_joined(world: World, tmp_path: Path):
    project = world.project
    world.made()
    close, expected = COMPARED[-1], world.oracle(COMPARED[-1])
    assert "ranked" in validate(project).promoted
    assert "ranked" in {load.view for load in materialize(project).loads}
    online = verify_online(project)
    assert online.passed
    # Five features, the universe's size and its hash.
    assert next(view for view in online.views if view.view == "ranked").values == 7 * len(expected)

    ranks = {symbol: row["score_rank"] for symbol, row in expected.items()}
    ranked = {symbol: rank for symbol, rank in ranks.items() if rank is not None}
    best = sorted(ranked, key=lambda symbol: (-ranked[symbol], symbol))
    for as_of in (None, close + timedelta(hours=1)):
        asked = SelectRequest(by="score_rank", as_of=as_of, top=3, max_bar_age=timedelta(9))
        chosen = select(project, asked)
        assert [row.symbol for row in chosen.rows] == best[:3]

    told = explain(project, ExplainRequest(best[0], "score_zscore", close + timedelta(hours=1)))
    (story,) = told.stories
    assert story.versions[0].value == pytest.approx(expected[best[0]]["score_zscore"])
    valid = (world._valid(world.scores, each, close, 2) for each in expected)
    scores = [row["score"] for row in valid if row and row["score"] is not None]
    assert story.source.startswith("signals:score of the members of club, compared at their last")
    assert story.notes[0].startswith(
        f"compared: signals:score of 26 members of club, {len(scores)} with a value by 2021-03-12"
    )
    assert f"mean {np.mean(scores):.6g}, deviation {np.std(scores):.6g}" in story.notes[0]

    days = Schedule(date(2021, 3, 1), date(2021, 3, 12))
    out = tmp_path / "panel.parquet"
    features = ("ranked:score_percentile", "score_neutralised")
    write_panel(project, PanelRequest(days, out, features=features, universe="club"))
    rows = to_rows(pq.read_table(out))
    assert len(rows) == len(world.rows())
    for row in rows:
        cells = world.oracle(row["event_timestamp"])[row["symbol"]]
        assert {name: row[name] for name in ("score_percentile", "score_neutralised")} == approx(
            {name: cells[name] for name in ("score_percentile", "score_neutralised")}
        )
    proof = prove(project, out)
    assert proof.passed
    assert "later days" in [each.name for each in proof.checks if each.finding == Finding.SOUND]


def test_sets_of_compared_members_come_again_after_restatements_and_compaction(
    world: World, tmp_path: Path, now: Callable[[datetime], None]
):
    world.made()
    days = Schedule(date(2021, 3, 1), date(2021, 3, 12))
    panel, labelled = tmp_path / "panel.parquet", tmp_path / "labelled.parquet"
    features = ["ranked:score_rank", "ranked:score_neutralised"]
    write_panel(world.project, PanelRequest(days, panel, features=features, universe="club"))
    labels = tmp_path / "labels.csv"
    lines = [f"{each},{close.isoformat()},1" for close in COMPARED for each in MEMBERS]
    labels.write_text("\n".join(["symbol,event_timestamp,y", *lines]) + "\n")
    words = ["training-set", "--labels", str(labels), "--universe", "club", "--out", str(labelled)]
    result = CliRunner().invoke(cli, [*words, *(w for f in features for w in ("--feature", f))])
    assert result.exit_code == 0, result.output
    ranks = {(r["symbol"], r["event_timestamp"]): r["score_rank"] for r in world.rows()}
    rows = to_rows(pq.read_table(labelled))
    assert len(rows) == len(ranks)
    for row in rows:
        decided = datetime.fromisoformat(row["event_timestamp"])
        assert row["score_rank"] == ranks[row["symbol"], decided]
    now(NOW + timedelta(days=1))
    world.created = NOW + timedelta(hours=1)
    world.add("scores", *(world.score(each, NEW_YORK_CLOSES[3], 500.0) for each in MEMBERS[:9]))
    world.add("spans", world.member("NASDAQ:NEW", moment(5)))
    assert world.made().restated
    group = world.project.catalog.group("ranked")
    parts = len(list_parts(world.project.lakehouse, group))
    compact(world.project)
    assert len(list_parts(world.project.lakehouse, group)) < parts
    check(world, COMPARED)
    for place in (panel, labelled):
        again = reproduce(world.project, place, tmp_path / "again.parquet")
        assert again.passed, again
        assert prove(world.project, place).passed
    latest = PanelRequest(days, tmp_path / "now.parquet", features=features, universe="club")
    assert write_panel(world.project, latest).fingerprint != again.fingerprint["rows"]


def test_what_the_gate_stops_is_not_published(world: World):
    few = "    features=[Column('score_rank', low=1, high=9)],\n    source=CrossSection("
    with_groups(world.project, GROUPS.replace("    source=CrossSection(", few))
    with pytest.raises(GateRefused, match="quarantined share"):
        cross_sections(world.project)
    rows = world.rows()
    assert max(row["event_timestamp"] for row in rows) == COMPARED[-2]  # the day to be served
    assert max(row["score_rank"] or 0 for row in rows) <= 9
    with_groups(world.project, GROUPS)
    world.made()
    check(world, COMPARED)


def test_the_commands_of_computed_features_bring_them_too(world: World):
    def printed(*words: str) -> str:
        result = CliRunner().invoke(cli, [*words])
        assert result.exit_code == 0, result.output
        return result.output

    # No bar is there, and none is needed.
    span = ("--from", "2021-03-01", "--to", "2021-03-02")
    assert printed("backfill", *span).startswith("ranked: 2 days of club, 54 rows written")
    assert "ranked: 10 days of club, 206 rows written, 54 unchanged" in printed("local-features")
    assert printed("local-features") == "ranked: nothing new to compare\n"
    assert json.loads(printed("local-features", "--json"))["groups"][0]["written"] == 0
