"""A replay in which a vote of the ratings follows another rule from a date on."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from ingestion.base.errors import InputError
from ingestion.formulas import Bars, oscillators
from ingestion.replay import ChangedVote, Panel
from ingestion.replay.server import serve
from tests.conftest import SAMPLE

SYMBOL = "NYSE:KO"
SINCE = date(2021, 4, 6)
RATINGS = ("Recommend.All", "Recommend.MA", "Recommend.Other")


@pytest.fixture(scope="module")
def bars() -> pa.Table:
    table = pq.read_table(SAMPLE / "bars.parquet").filter(pc.field("symbol") == SYMBOL)
    return table.filter(pc.field("timestamp") > int(datetime(2020, 6, 1, tzinfo=UTC).timestamp()))


def served(bars: pa.Table, changes: Iterable[ChangedVote] = ()) -> np.ndarray:
    """Return the ratings of each bar; shape (bars, 3)."""
    with (SAMPLE / "symbols.csv").open(encoding="utf-8") as file:
        about = {row["symbol"]: row for row in csv.DictReader(file)}
    panel = Panel.from_bars(bars, about, tuple(changes))
    return np.array(
        [panel.values(SYMBOL, row, RATINGS) for row in range(bars.num_rows)], dtype=float
    )


def test_the_ratings_differ_by_that_vote_alone_from_its_date_on(bars: pa.Table) -> None:
    """Momentum is the close less that of ten bars before; it counts as one of eleven votes."""
    before, after = served(bars), served(bars, [ChangedVote.parse(f"Mom=reversed@{SINCE}")])
    close = bars["close"].to_numpy()
    momentum = close[10:] - close[:-10]
    vote = np.r_[np.zeros(11), np.sign(np.diff(momentum))]
    is_since = bars["timestamp"].to_numpy() > datetime(2021, 4, 6, tzinfo=UTC).timestamp()
    assert 3 < is_since.sum() < len(is_since)
    expected = np.where(is_since, -2 * vote / 11, 0)
    np.testing.assert_allclose((after - before)[50:, 2], expected[50:], atol=1e-12)
    np.testing.assert_array_equal(after[:, 1], before[:, 1])
    np.testing.assert_allclose(after[50:, 0], after[50:, 1:].mean(axis=1))
    np.testing.assert_array_equal(after[~is_since], before[~is_since])


def test_a_vote_may_be_silent_or_cast_only_where_it_turns(bars: pa.Table) -> None:
    names = ("open", "high", "low", "close", "volume")
    macd = Bars(**{name: bars[name].to_numpy() for name in names})
    vote = np.sign(oscillators.macd(macd) - oscillators.macd_signal(macd))[-10:, 0]
    before = np.sign(oscillators.macd(macd) - oscillators.macd_signal(macd))[-11:-1, 0]
    plain = served(bars)[-10:, 2]
    for rule, value in (("silent", 0 * vote), ("turning", np.where(before == vote, 0, vote))):
        other = served(bars, [ChangedVote.parse(f"MACD={rule}@2021-03-01")])[-10:, 2]
        np.testing.assert_allclose(other - plain, (value - vote) / 11, atol=1e-12)


def test_a_rule_of_ones_own_and_several_changes(bars: pa.Table) -> None:
    always = ChangedVote("UO", lambda bars, _: np.ones(bars.close.shape, np.int8), SINCE)
    mom = ChangedVote.parse(f"Mom=silent@{SINCE}")
    single = served(bars, [always]) - served(bars) + served(bars, [mom])
    np.testing.assert_allclose(served(bars, [always, mom]), single, atol=1e-12)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Mom=reversed", "names no date"),
        ("Mom=reversed@6.4.2021", "names no date"),
        ("Mom=backwards@2021-04-06", "there are reversed, silent, turning"),
        ("MOM=reversed@2021-04-06", "no vote 'MOM'; there are SMA10"),
        ("", "names no date"),
    ],
)
def test_a_change_that_cannot_be_read_is_refused(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=said):
        serve(SAMPLE, port=0, latency=0, fail=(), changed_votes=[text])


def test_recorded_answers_have_no_votes(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text('{"RSI": 50}')
    with pytest.raises(InputError, match="no votes"):
        serve(
            SAMPLE,
            port=0,
            latency=0,
            fail=(),
            recordings=[f"NYSE:KO={tmp_path / 'one.json'}"],
            changed_votes=["Mom=reversed@2021-04-06"],
        )
