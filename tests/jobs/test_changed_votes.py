"""A vote whose rule changes on a date is named by `parity`; bad bars and open ones are not.

Snapshots come day by day from a replay, over HTTP; features are computed from imported bars. The
long form, every vote on 500 symbols and 60 evenings, is ``make test-votes``.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from ingestion.base.errors import GateRefused
from ingestion.cli.commands import cli
from ingestion.formulas.ratings import average_votes, oscillator_votes
from ingestion.jobs.compute.local_features import local_features
from ingestion.jobs.compute.parity import ParityRequest, ParityResult, parity
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.project import Project
from ingestion.quality.votes import ENOUGH
from ingestion.replay import ChangedVote
from ingestion.replay.changed_votes import RULES, Rule
from tests.jobs.made_market import (
    PRICES,
    SESSION,
    WRITTEN,
    MadeMarket,
    build,
    is_long,
    snapshots,
    without,
)
from tests.quality.other_rules import OTHER_RULES, cast

COUNTS = (
    {"NASDAQ": 250, "NYSE": 150, "AMEX": 100}
    if is_long()
    else {"NASDAQ": 14, "NYSE": 14, "AMEX": 14}
)
EVENINGS = 60 if is_long() else 16
MARKET = MadeMarket.of(COUNTS, sessions=(250 if is_long() else 140) + EVENINGS, evenings=EVENINGS)
BEFORE, AFTER = range(EVENINGS // 2), range(EVENINGS // 2, EVENINGS)
CHANGED = MARKET.day(AFTER[0])
OF = {
    "Recommend.Other": dict(oscillator_votes(MARKET.bars)),
    "Recommend.MA": dict(average_votes(MARKET.bars)),
}


def other(name: str) -> Rule:
    """Return another rule as the replay takes it."""
    return lambda bars, _: cast(bars, OTHER_RULES[name])


def pairs() -> list[dict[str, Rule]]:
    """Return what changes at a time: an oscillator's vote, and an average's."""
    if not is_long():
        return [
            {"Mom": RULES["reversed"], "HullMA9": RULES["turning"]},
            {"ADX": other("ADX crosses"), "SMA50": RULES["silent"]},
        ]
    rules = {each.vote: other(name) for name, each in OTHER_RULES.items()}
    one, two = (
        [{vote: rules.get(vote, RULES["reversed"])} for vote in votes if vote != "Ichimoku"]
        for votes in OF.values()
    )
    one += [{vote: RULES["reversed"]} for vote in ("RSI", "Stoch", "UO")]
    return [first | second for first, second in zip(one, two, strict=True)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lakehouse with all bars, and the snapshots of the evenings before the change."""
    return build(tmp_path_factory.mktemp("votes"), MARKET, MARKET.table, BEFORE).lakehouse_at


@pytest.fixture
def project(built: Path, tmp_path: Path, at, monkeypatch: pytest.MonkeyPatch) -> Project:
    at(WRITTEN)
    monkeypatch.setattr("os.fsync", lambda _: None)
    shutil.copytree(built, tmp_path / "lakehouse")
    return replace(Project.from_environment(), lakehouse_at=tmp_path / "lakehouse")


def serve_changed(project: Project, since: date = CHANGED, **rules: Rule) -> None:
    """Store the evenings from the change on, as a replay serves them by other rules."""
    changes = [ChangedVote(vote, rule, since) for vote, rule in rules.items()]
    snapshots(project, MARKET, MARKET.panel(MARKET.table, *changes), AFTER)


def shown(vote: str, rule: Rule, since: int = AFTER[0]) -> tuple[date, int, int]:
    """Return the first date on which a rule shows, and how often the vote is cast around it."""
    bars, votes = MARKET.bars, OF["Recommend.MA"] | OF["Recommend.Other"]
    value = votes[vote].value.astype(int)
    days = slice(-EVENINGS, None)
    differs = (np.where(votes[vote].defined, rule(bars, votes[vote]), 0) != value)[days].any(axis=1)
    first = since + int(np.argmax(differs[since:]))
    by_day = (value[days] != 0).sum(axis=1)
    return MARKET.day(first), int(by_day[:first].sum()), int(by_day[first:].sum())


def told(result: ParityResult) -> list[tuple[tuple[str, ...], date]]:
    return [(each.votes, each.since) for each in result.report.broken]


@pytest.mark.parametrize("rules", pairs(), ids=lambda rules: ", ".join(rules))
def test_a_changed_rule_is_named_with_its_date(project: Project, rules: dict[str, Rule]) -> None:
    serve_changed(project, **rules)
    result = parity(project)
    assert replace(result, max_vote_share=1).refusal is None
    for vote, rule in rules.items():
        since, *sides = shown(vote, rule)
        found = [each for each in result.report.broken if vote in each.votes]
        if is_long():
            print(f"{vote:<10} cast {sides}: {'; '.join(map(str, found)) or 'nothing is named'}")
        if min(sides) < ENOUGH:
            assert not any(each.is_told for each in found)
            continue
        (broken,) = found
        assert (broken.votes, broken.since) == ((vote,), since)
        assert broken.is_told
        assert set(broken.market.split(", ")) == set(COUNTS)
        assert [broken.cast_before, broken.cast_after] == sides
        rings = broken.share_after - broken.share_before > result.max_vote_share
        assert rings == (f"the vote {vote} follows" in (result.refusal or ""))
    named = {name for each in result.report.broken if each.is_told for name in each.votes}
    assert named <= rules.keys()


def test_a_clean_replay_names_no_vote_and_the_command_rings_from_the_change_on(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last evening alone is served by another rule."""
    snapshots(project, MARKET, MARKET.panel(MARKET.table), AFTER[:-1])
    last = MARKET.day(AFTER[-1])
    change = ChangedVote("Mom", RULES["reversed"], last)
    saturday = datetime(2021, 5, 1, 8, tzinfo=UTC)  # another month, and Friday's bar again
    snapshots(project, MARKET, MARKET.panel(MARKET.table, change), AFTER[-1:], [saturday])
    until = parity(project, ParityRequest(last=last - timedelta(days=1)))
    assert until.report.compared == len(MARKET.symbols) * (EVENINGS - 1)
    assert (until.report.broken, until.refusal, until.report.beyond) == ((), None, 0)
    monkeypatch.setenv("TVFEAST_LAKEHOUSE", str(project.lakehouse_at))
    ringing = CliRunner().invoke(cli, ["parity"])
    assert isinstance(ringing.exception, GateRefused)
    assert f"the vote Mom follows another rule since {last}" in ringing.output


def test_a_vote_that_is_seldom_cast_is_not_told(project: Project) -> None:
    rule = RULES["reversed"]
    # Of many symbols, some votes are cast often enough on one evening already.
    vote, few = next(
        (vote, number)
        for vote in ("Stoch", "RSI")
        for number in reversed(AFTER)
        if 5 < shown(vote, rule, number)[2] < ENOUGH
    )
    serve_changed(project, MARKET.day(few), **{vote: rule})
    result = parity(project)
    (broken,) = result.report.broken
    assert not broken.is_told
    assert "not enough to tell" in str(broken)
    assert f"{vote} was cast {broken.cast_before:,} times before and" in str(broken)
    assert broken.cast_after == shown(vote, rule, few)[2]
    assert result.refusal is None


def some(share: float, exchange: str) -> list[str]:
    """Return a share of an exchange's symbols."""
    names = [name for name in MARKET.symbols if name.startswith(exchange + ":")]
    return names[: max(2, round(share * len(names)))]


PARTS = [*some(0.05, "NASDAQ"), *some(0.3, "NYSE"), *some(1, "AMEX")]
"""A few symbols of one exchange, a part of another, and all of a third."""


@pytest.mark.parametrize("moves", [0.005, 0.000_05], ids=["late", "last trades"])
def test_bars_that_were_still_open_name_no_vote(project: Project, moves: float) -> None:
    """A snapshot shows the prices of some time before the close; the next day's builds on it."""
    concerned = np.isin(MARKET.symbols, PARTS)
    chance, panels = np.random.default_rng(3), []
    for number in AFTER:
        until = MARKET.sessions - EVENINGS + number + 1
        seen = {name: matrix[:until].copy() for name, matrix in MARKET.matrices.items()}
        then = seen["close"][-1] * np.exp(chance.normal(0, moves, len(concerned)))
        for name, prices in (
            ("close", then),
            ("high", np.maximum(np.maximum(then, seen["open"][-1]), 0.999 * seen["high"][-1])),
            ("low", np.minimum(np.minimum(then, seen["open"][-1]), 1.001 * seen["low"][-1])),
            ("volume", 0.9 * seen["volume"][-1]),
        ):
            seen[name][-1] = np.where(concerned, prices, seen[name][-1])
        panels.append(MARKET.panel(MARKET.table_of(seen)))
    snapshots(project, MARKET, panels, AFTER)
    result = parity(project)
    assert result.report.beyond > 20
    assert (told(result), result.refusal) == ([], None)


def test_wrong_bars_of_a_part_or_all_of_a_market_name_no_vote(
    project: Project, tmp_path: Path, at
) -> None:
    """From the date on, the lakehouse's prices are some cents off."""
    snapshots(project, MARKET, MARKET.panel(MARKET.table), AFTER)
    at(WRITTEN + timedelta(days=1))
    table, chance = MARKET.table, np.random.default_rng(5)
    first = int(MARKET.closes[AFTER[0] - EVENINGS]) - SESSION
    is_wrong = pc.and_(
        pc.is_in(table["symbol"], pa.array(PARTS)), pc.greater_equal(table["timestamp"], first)
    )
    wrong = table.filter(is_wrong)
    prices = {name: np.array(wrong[name]) for name in PRICES}
    off = np.exp(chance.normal(0, 0.0005, wrong.num_rows))
    for name in PRICES:
        prices[name] = prices[name] * off
    prices["high"] = np.maximum.reduce([*prices.values()])
    prices["low"] = np.minimum.reduce([*prices.values()])
    for name, values in prices.items():
        wrong = wrong.set_column(wrong.column_names.index(name), name, pa.array(values))
    pq.write_table(wrong, tmp_path / "wrong.parquet")
    import_bars(project, ImportRequest((tmp_path / "wrong.parquet",)))
    local_features(project)
    result = parity(project)
    assert result.report.beyond > 20
    assert (told(result), result.refusal) == ([], None)


@pytest.mark.parametrize("lacks", ["the lakehouse", "the scanner"])
def test_bars_that_one_side_lacks_name_no_vote(
    tmp_path: Path, at, monkeypatch: pytest.MonkeyPatch, lacks: str
) -> None:
    """A session that the lakehouse lacks; and one without trades, which TradingView leaves out."""
    at(WRITTEN)
    monkeypatch.setattr("os.fsync", lambda _: None)
    session = int(MARKET.closes[AFTER[0] - EVENINGS]) - SESSION
    lacking = without(MARKET.table, PARTS, session)
    if lacks == "the lakehouse":
        stored, served = lacking, MARKET.table
    else:
        stored, served = quiet(MARKET.table, session), quiet(lacking, session)
    project = build(tmp_path, MARKET, stored, [])
    snapshots(project, MARKET, MARKET.panel(served), range(EVENINGS))
    result = parity(project)
    assert result.report.beyond > 20
    assert (told(result), result.refusal) == ([], None)


def quiet(table: pa.Table, session: int) -> pa.Table:
    """Return bars in which nobody traded in a session: the price stays, and there is no volume."""
    is_quiet = pc.and_(
        pc.is_in(table["symbol"], pa.array(PARTS)), pc.equal(table["timestamp"], session)
    )
    flat = {name: pc.if_else(is_quiet, table["open"], table[name]) for name in PRICES}
    for name, values in {**flat, "volume": pc.if_else(is_quiet, 0.0, table["volume"])}.items():
        table = table.set_column(table.column_names.index(name), name, values)
    return table


def test_a_history_that_is_too_short_for_a_recursion_does_not_ring(project: Project) -> None:
    """TradingView has a hundred bars more of these symbols than the lakehouse, from the date on.

    On 500 symbols that looks like another average of 200, which still remembers its first bar.
    """
    table = MARKET.table
    longer = MadeMarket(tuple(PARTS), sessions=MARKET.sessions + 100, evenings=EVENINGS)
    first = int(MARKET.closes[0]) - SESSION
    older = longer.table.filter(pc.less(longer.table["timestamp"], first))
    snapshots(project, MARKET, MARKET.panel(pa.concat_tables([older, table])), AFTER)
    result = parity(project)
    assert result.report.beyond > 20
    assert {votes for votes, _ in told(result)} <= {("EMA200",)}
    assert result.refusal is None
