"""The names of labels: what they mean, what is refused, and with which words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from target_bars import daily

from ingestion.base.errors import InputError
from ingestion.datasets import Label, label_of, labels_of, make_labels
from ingestion.datasets.labels import Barrier, Excess, ForwardReturn, Quantile, Scaled, Sign, Width

NAMES = {
    "fwd_return_5d": ForwardReturn(5),
    "sign_fwd_return_5d": Sign(ForwardReturn(5)),
    "excess_fwd_return_5d,benchmark=AMEX:SPY": Excess(ForwardReturn(5), "AMEX:SPY"),
    "scaled_fwd_return_5d": Scaled(ForwardReturn(5), 20),
    "scaled_fwd_return_5d,volatility=60": Scaled(ForwardReturn(5), 60),
    "quantile_scaled_excess_fwd_return_5d,classes=3,benchmark=A:B": Quantile(
        Scaled(Excess(ForwardReturn(5), "A:B")), 3
    ),
    "barrier_10d,profit=5%": Barrier(10, Width(5.0, "%")),
    "barrier_10d,loss=1.5sd,both=profit,volatility=30": Barrier(
        10, None, Width(1.5, "sd"), "profit", 30
    ),
    "barrier_10d,loss=2%,as=stopped": Barrier(10, None, Width(2.0, "%"), renamed="stopped"),
}


@pytest.mark.parametrize("text", NAMES)
def test_a_name_is_read_from_right_to_left(text: str):
    assert label_of(text) == NAMES[text]
    assert label_of(str(NAMES[text])) == NAMES[text]


returns = st.builds(
    lambda kind, days: f"{kind}_return_{days}d",
    st.sampled_from(["fwd", "total"]),
    st.integers(1, 9_999),
)


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Any text of a return, with its options in any order."""
    name, options = draw(returns), []
    for prefix, option, value in (
        ("excess", "benchmark", "AMEX:SPY"),
        ("scaled", "volatility", draw(st.integers(2, 1_000))),
        ("quantile", "classes", draw(st.integers(2, 1_000))),
    ):
        if draw(st.booleans()):
            name = f"{prefix}_{name}"
            options.append(f"{option}={value}")
    if draw(st.booleans()):
        options.append("as=mine")
    return ",".join([name, *draw(st.permutations(options))])


@given(texts())
def test_a_label_is_made_again_from_its_text(text: str):
    label = label_of(text)
    assert label_of(str(label)) == label
    assert label.column == ("mine" if "as=mine" in text else text.partition(",")[0])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("fwd_return_0d", r"no target .* fwd_return_<n>d"),
        ("scaled_sign_fwd_return_5d", "no target"),
        ("quantile_barrier_5d", "no target"),
        ("excess_fwd_return_5d", "needs a benchmark: excess_fwd_return_5d,benchmark=SYMBOL"),
        ("fwd_return_5d,benchmark=A:B", "has no option benchmark; it has as"),
        ("scaled_fwd_return_5d,volatilty=9", "no option volatilty.*volatility"),
        ("scaled_fwd_return_5d,volatility=1", "2 to 1,000 returns, not of 1"),
        ("scaled_fwd_return_5d,volatility=x", 'volatility="x" is no whole number'),
        ("scaled_fwd_return_5d,volatility=", '"volatility=" is no option'),
        ("scaled_fwd_return_5d,volatility=5,volatility=6", "write each once"),
        ("quantile_fwd_return_5d,classes=1", "2 to 1,000 classes, not 1"),
        ("barrier_5d", "no barrier: give profit=5% or loss=2sd"),
        ("barrier_5d,profit=0.05", '"0.05" is no width of a barrier: give percent'),
        ("barrier_5d,profit=0%", "is no width"),
        ("barrier_5d,loss=-1%", "is no width"),
        ("barrier_5d,loss=5%,both=none", 'both="none"'),
        ("fwd_return_5d,as=symbol", 'as="symbol" is no name'),
        ("fwd_return_5d,as=a b", "is no name"),
        ("fwd_return_5d,as=fwd_return_1d__end_timestamp", "is no name"),
        ("fwd_return_5d,", '"" is no option'),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, problem: str):
    with pytest.raises(InputError, match=problem):
        label_of(text)


@pytest.mark.parametrize("given", ["", "  ", []])
def test_no_label_is_refused(given: object):
    with pytest.raises(InputError, match="no target"):
        labels_of(given)  # type: ignore[arg-type]


def test_two_labels_of_one_column_are_refused():
    with pytest.raises(InputError, match=r"barrier_5d,profit=2% are both .*,as=COLUMN"):
        labels_of("barrier_5d,profit=1% barrier_5d,profit=2%")
    two = labels_of("barrier_5d,profit=1% barrier_5d,profit=2%,as=wide")
    assert [each.column for each in two] == ["barrier_5d", "wide"]


def test_labels_need_the_columns_that_they_are_made_of():
    span = {"first": daily([1.0])["event_timestamp"][0].as_py().date()}
    span["last"] = span["first"]
    with pytest.raises(InputError, match="missing column high, low"):
        make_labels(daily([1.0, 2.0]), labels_of("barrier_1d,profit=5%"), **span)
    with pytest.raises(InputError, match="columns of their own, not none"):
        make_labels(daily([1.0, 2.0]), [], **span)


def test_a_label_is_abstract_until_it_says_what_it_makes():
    with pytest.raises(TypeError, match="abstract"):
        Label()  # type: ignore[abstract]
