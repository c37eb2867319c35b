"""Votes on numbers that TradingView served, and on the edges of their rules.

The numbers are those of NASDAQ:AAPL's daily bar of 2022-01-07, as the scanner answered on
2022-01-10 (OpenBB-finance/OpenBB, test cassettes). Its directional rule was an older one, with a
cross.
"""

import numpy as np
import pytest

from ingestion.local import ratings
from ingestion.local.ratings import Vote

CLOSE = 172.17
AVERAGES = {
    "EMA10": 175.70798756,
    "SMA10": 177.557,
    "EMA20": 174.3295219,
    "SMA20": 176.1225,
    "EMA30": 171.76997467,
    "SMA30": 172.71033333,
    "EMA50": 166.9318623,
    "SMA50": 164.814,
    "EMA100": 158.65910129,
    "SMA100": 155.9963,
    "EMA200": 147.84051735,
    "SMA200": 145.324625,
    "HullMA9": 172.86718519,
    "VWMA": 175.65467259,
}
NAN = float("nan")


def series(*values: float) -> np.ndarray:
    """One symbol's bars, the last one being the present."""
    return np.array(values, dtype=np.float64)[:, None]


def last(vote: Vote) -> int | None:
    return int(vote.value[-1, 0]) if vote.defined[-1, 0] else None


def test_recorded_averages_give_the_recorded_rating() -> None:
    votes = [ratings.average_vote(series(CLOSE), series(m)) for m in AVERAGES.values()]
    neutral = ratings.ichimoku_vote(np.full((52, 1), CLOSE))
    votes.append(Vote(neutral.value[-1:], neutral.defined[-1:]))
    assert len(votes) == 15
    assert ratings.rating(votes)[0, 0] == 0.0
    assert last(votes[list(AVERAGES).index("HullMA9")]) == -1
    assert last(votes[list(AVERAGES).index("VWMA")]) == -1


def test_recorded_oscillators_give_the_recorded_rating() -> None:
    votes = [
        ratings.rsi_vote(series(49.10252948, 49.36300993)),
        ratings.stochastic_vote(series(35.98191214), series(54.01709359)),
        ratings.cci_vote(series(-97.21553799, -87.00676903)),
        Vote(np.zeros((1, 1), np.int8), np.ones((1, 1), bool)),
        ratings.awesome_vote(series(9.02918235, 7.25497647, 5.63106471)),
        ratings.momentum_vote(series(-3.64, -4.11)),
        ratings.macd_vote(series(2.83183738), series(4.1595174)),
        ratings.stochastic_rsi_vote(
            series(CLOSE), series(AVERAGES["EMA50"]), series(0.48812344), series(10.0)
        ),
        ratings.williams_vote(series(-73.0, -69.57364341)),
        ratings.ultimate_vote(series(37.62804412)),
    ]
    assert [last(vote) for vote in votes] == [0, 0, 0, 0, 0, -1, -1, 0, 0, 0]
    # The eleventh, bull and bear power, was served as 0.
    assert sum(v for vote in votes if (v := last(vote))) / 11 == pytest.approx(-0.18181818)


@pytest.mark.parametrize(
    ("vote", "expected"),
    [
        (ratings.average_vote(series(10.0), series(10.0)), 0),
        (ratings.average_vote(series(10.0), series(NAN)), None),
        (ratings.rsi_vote(series(28, 29)), 1),
        (ratings.rsi_vote(series(29, 28)), 0),
        (ratings.rsi_vote(series(28, 30)), 0),
        (ratings.rsi_vote(series(72, 71)), -1),
        (ratings.rsi_vote(series(NAN, 29)), None),
        (ratings.stochastic_vote(series(12), series(11)), 1),
        (ratings.stochastic_vote(series(12), series(20)), 0),
        (ratings.stochastic_vote(series(88), series(89)), -1),
        (ratings.cci_vote(series(-120, -110)), 1),
        (ratings.cci_vote(series(120, 110)), -1),
        (ratings.adx_vote(series(21, 22), series(5, 30), series(5, 10)), 1),
        (ratings.adx_vote(series(21, 22), series(5, 10), series(5, 30)), -1),
        (ratings.adx_vote(series(22, 21), series(5, 30), series(5, 10)), 0),
        (ratings.adx_vote(series(22, 22), series(5, 30), series(5, 10)), 0),
        (ratings.adx_vote(series(19, 20), series(5, 30), series(5, 10)), 0),
        (ratings.awesome_vote(series(0.0, 1.0)), 1),
        (ratings.awesome_vote(series(1.0, -1.0)), -1),
        (ratings.awesome_vote(series(3.0, 1.0, 2.0)), 1),
        (ratings.awesome_vote(series(1.0, 2.0, 3.0)), 0),
        (ratings.awesome_vote(series(-3.0, -1.0, -2.0)), -1),
        (ratings.awesome_vote(series(NAN, 1.0, 2.0)), 0),
        (ratings.awesome_vote(series(NAN, 1.0)), None),
        (ratings.momentum_vote(series(1.0, 1.0)), 0),
        (ratings.stochastic_rsi_vote(series(9), series(10), series(12), series(11)), 1),
        (ratings.stochastic_rsi_vote(series(11), series(10), series(12), series(11)), 0),
        (ratings.stochastic_rsi_vote(series(11), series(10), series(88), series(89)), -1),
        (ratings.williams_vote(series(-90, -85)), 1),
        (ratings.williams_vote(series(-10, -15)), -1),
        (ratings.bull_bear_vote(series(1, 11), series(1, 10), series(1, 1), series(-2, -1)), 1),
        (ratings.bull_bear_vote(series(1, 9), series(1, 10), series(2, 1), series(-2, -1)), -1),
        (ratings.bull_bear_vote(series(1, 11), series(1, 10), series(2, 1), series(-1, -2)), 0),
        (ratings.ultimate_vote(series(70.5)), 1),
        (ratings.ultimate_vote(series(70.0)), 0),
        (ratings.ultimate_vote(series(29.5)), -1),
    ],
)
def test_vote_on_the_edge_of_its_rule(vote: Vote, expected: int | None) -> None:
    assert last(vote) == expected


def test_undefined_members_leave_the_denominator() -> None:
    close = series(10.0)
    votes = [ratings.average_vote(close, series(m)) for m in (9.0, 9.5, 11.0, NAN)]
    assert ratings.rating(votes)[0, 0] == pytest.approx(1 / 3)
    assert np.isnan(ratings.rating(votes[3:])[0, 0])
