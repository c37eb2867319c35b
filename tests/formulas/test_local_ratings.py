"""Votes on numbers that TradingView served, and on the edges of their rules.

The numbers are those of NASDAQ:AAPL's daily bar of 2022-01-07, as the scanner answered on
2022-01-10 (OpenBB-finance/OpenBB, test cassettes). Its directional rule was an older one, with a
cross.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from ingestion.formulas import ratings
from ingestion.formulas.ratings import Vote

RECORDINGS = Path(__file__).resolve().parent.parent / "recordings"


def recorded() -> dict[str, float]:
    """The recorded answer, by column."""
    request, response = (
        json.loads((RECORDINGS / f"aapl_1d_2022.{side}.json").read_bytes())
        for side in ("request", "response")
    )
    (row,) = response["data"]
    assert row["s"] == "NASDAQ:AAPL"
    return dict(zip(request["columns"], row["d"], strict=True))


APPLE = recorded()
CLOSE = APPLE["close"]
AVERAGES = {
    name: APPLE[name]
    for name in (
        *(f"{kind}{n}" for n in (10, 20, 30, 50, 100, 200) for kind in ("EMA", "SMA")),
        *("HullMA9", "VWMA"),
    )
}
NAN = float("nan")


def series(*values: float) -> np.ndarray:
    """One symbol's bars, the last one being the present."""
    return np.array(values, dtype=np.float64)[:, None]


def last(vote: Vote) -> int | None:
    return int(vote.value[-1, 0]) if vote.defined[-1, 0] else None


def served(*names: str) -> np.ndarray:
    """Columns of the recording as consecutive bars."""
    return series(*(APPLE[name] for name in names))


def test_recorded_averages_give_the_recorded_rating() -> None:
    votes = [ratings.average_vote(series(CLOSE), series(m)) for m in AVERAGES.values()]
    neutral = ratings.ichimoku_vote(np.full((52, 1), CLOSE))
    votes.append(Vote(neutral.value[-1:], neutral.defined[-1:]))
    assert len(votes) == 15
    assert ratings.rating(votes)[0, 0] == APPLE["Recommend.MA"] == 0
    assert last(votes[list(AVERAGES).index("HullMA9")]) == APPLE["Rec.HullMA9"] == -1
    assert last(votes[list(AVERAGES).index("VWMA")]) == APPLE["Rec.VWMA"] == -1
    assert last(votes[-1]) == APPLE["Rec.Ichimoku"] == 0


def test_recorded_oscillators_give_the_recorded_rating() -> None:
    average = served("EMA50")
    votes = {
        "RSI": ratings.rsi_vote(served("RSI[1]", "RSI")),
        "Stoch": ratings.stochastic_vote(served("Stoch.K"), served("Stoch.D")),
        "CCI20": ratings.cci_vote(served("CCI20[1]", "CCI20")),
        # The rule that today's replaced: +DI has to cross -DI, and did not.
        "ADX": Vote(np.zeros((1, 1), np.int8), np.ones((1, 1), bool)),
        "AO": ratings.awesome_vote(served("AO[2]", "AO[1]", "AO")),
        "Mom": ratings.momentum_vote(served("Mom[1]", "Mom")),
        "MACD": ratings.macd_vote(served("MACD.macd"), served("MACD.signal")),
        # The slow line is not served, but the close above its average rules a buy out.
        "Rec.Stoch.RSI": ratings.stochastic_rsi_vote(
            series(CLOSE), average, served("Stoch.RSI.K"), series(10.0)
        ),
        # Neither is the day before, but without a low below -80 there is no vote.
        "Rec.WR": ratings.williams_vote(np.vstack([series(-73.0), served("W.R")])),
        "Rec.UO": ratings.ultimate_vote(served("UO")),
    }
    turned = {name for name, vote in votes.items() if last(vote) != 0}
    assert turned == {"Mom", "MACD"}
    assert last(votes["Mom"]) == last(votes["MACD"]) == -1
    for name in ("Rec.Stoch.RSI", "Rec.WR", "Rec.UO"):
        assert last(votes[name]) == APPLE[name]
    # The eleventh, bull and bear power, was served as 0.
    assert APPLE["Rec.BBPower"] == 0
    assert sum(v for vote in votes.values() if (v := last(vote))) / 11 == pytest.approx(
        APPLE["Recommend.Other"], abs=1e-8
    )


def test_the_recorded_whole_is_the_mean_of_its_halves() -> None:
    halves = APPLE["Recommend.MA"], APPLE["Recommend.Other"]
    assert sum(halves) / 2 == pytest.approx(APPLE["Recommend.All"], abs=1e-8)


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
