"""Who is compared, and when: several exchanges, a time of day, coins, nobody."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pytest

from ingestion.base.errors import InputError
from ingestion.jobs.compute.cross_sections import cross_sections
from ingestion.project import Project
from tests.jobs.compared.world import (
    LONG_AGO,
    SmallWorld,
    moment,
)


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
