"""The report on a lakehouse: the rows of a training set, and the figures of pandas and SciPy."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats

from ingestion.base.errors import InputError
from ingestion.cli.commands import cli
from ingestion.cli.factor import factor_command
from ingestion.datasets import DataSet, Schedule, long_frame
from ingestion.datasets.significance import newey_west_t, threshold
from ingestion.jobs.audit.prune import not_needed
from ingestion.jobs.factor.commands import command_of
from ingestion.jobs.factor.factor_report import (
    HORIZONS,
    FactorReport,
    FactorRequest,
    factor_report,
)
from ingestion.jobs.factor.tries import RECEIPT_FILE
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.project import Project
from tests.conftest import SAMPLE
from tests.factors.conftest import CHANGED, FEATURES, KNOWN, NAMES, NOW, SPAN, sector
from tests.lakehouse.in_a_bucket import access, placed
from tests.report.browser import CHROMIUM, WHY_NOT, browser
from tests.report.page_checks import faults

REQUEST = FactorRequest(FEATURES, SPAN, Path("unset"), horizons=(1, 5))


@pytest.fixture(scope="module")
def made(stocked: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FactorReport]:
    """The report of both features, of all symbols and of the universe's members."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TVFEAST_PROJECT", str(stocked))
        patch.setenv("TVFEAST_NOW", NOW.isoformat())
        out = tmp_path_factory.mktemp("report") / "report.html"
        yield factor_report(Project.from_environment(), replace(REQUEST, out=out))


def rows_of(joined: DataSet, feature: str, target: str) -> pd.DataFrame:
    """The rows of a training set that have both."""
    table = joined.table.select(["symbol", "event_timestamp", feature.partition(":")[2], target])
    frame = long_frame(table).dropna().reset_index()
    return frame.set_axis(["date", "symbol", "factor", "label"], axis=1)


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("number", [0, 1])
def test_its_figures_are_those_of_pandas_on_the_rows_of_the_training_set(
    made: FactorReport, joined: DataSet, feature: str, number: int
):
    (of,) = (each for each in made.factors if each.feature == feature)
    found = of.horizons[number]
    frame = rows_of(joined, feature, found.target)
    groups = frame.groupby("date")
    assert (found.rows, found.dates) == (len(frame), groups.ngroups)
    ic = groups.apply(lambda g: stats.spearmanr(g["factor"], g["label"])[0], include_groups=False)
    assert found.ic == pytest.approx(ic.mean(), abs=1e-12)
    assert found.ic_std == pytest.approx(ic.std(), abs=1e-12)
    assert found.lags == (3, 4)[number]  # ⌊4 (n / 100)^(2/9)⌋ is 3 of 80 dates; 5 sessions overlap
    assert found.t == pytest.approx(newey_west_t(ic.to_numpy(), found.lags))
    apart = ic.iloc[:: found.horizon]
    assert found.independent_dates == len(apart)
    assert found.t_independent == pytest.approx(stats.ttest_1samp(apart, 0).statistic)
    frame["quantile"] = groups["factor"].transform(lambda each: pd.qcut(each, 5, labels=False))
    means = frame.groupby(["date", "quantile"])["label"].mean().unstack()
    assert found.quantile_returns == pytest.approx(means.mean().to_numpy())
    assert found.spread == pytest.approx((means[4] - means[0]).mean())
    by_year = ic.groupby(ic.index.year).mean()
    assert {each.year: each.ic for each in found.by_year} == pytest.approx(by_year.to_dict())


def test_a_sector_is_the_one_that_was_known_at_the_decision(made: FactorReport, joined: DataSet):
    found = made.factors[0].horizons[1]
    frame = rows_of(joined, FEATURES[0], found.target)
    table = joined.table.select(["symbol", "event_timestamp"]).to_pandas()
    first_known = table[table["event_timestamp"] >= KNOWN]
    assert made.no_sector == len(table) - len(first_known)
    frame = frame[frame["date"] >= KNOWN]
    frame["sector"] = frame["symbol"].map(sector)
    frame.loc[(frame["symbol"] == "NASDAQ:INTC") & (frame["date"] >= CHANGED), "sector"] = "Finance"
    ic = frame.groupby(["sector", "date"]).apply(
        lambda g: stats.spearmanr(g["factor"], g["label"])[0], include_groups=False
    )
    assert {each.sector: each.ic for each in found.by_sector} == pytest.approx(
        ic.groupby("sector").mean().to_dict()
    )
    counts = frame.groupby(["sector", "date"]).size().groupby("sector").mean()
    assert {each.sector: each.symbols for each in found.by_sector} == pytest.approx(
        counts.to_dict()
    )


def test_universes_are_their_members_at_each_decision(
    project: Project, joined: DataSet, tmp_path: Path
):
    request = replace(REQUEST, out=tmp_path / "r.html", universes=("mine",), features=FEATURES[:1])
    made = factor_report(project, request)
    (of,) = made.factors
    frame = rows_of(joined, FEATURES[0], "fwd_return_5d")
    left = (frame["symbol"] == "NASDAQ:INTC") & (frame["date"] >= CHANGED)
    frame = frame[(frame["date"] >= KNOWN) & ~left]
    assert of.horizons[1].rows == len(frame)
    ic = frame.groupby("date").apply(
        lambda g: stats.spearmanr(g["factor"], g["label"])[0], include_groups=False
    )
    assert of.horizons[1].ic == pytest.approx(ic.mean(), abs=1e-12)
    assert made.warnings == (
        "who was in mine is not known at 10 dates, which have no rows: `tvfeast universe import` "
        "loads dated membership",
    )


def test_week_ends_are_the_decisions_of_weeks(project: Project, joined: DataSet, tmp_path: Path):
    weekly = replace(SPAN, every="week")
    request = replace(REQUEST, schedule=weekly, out=tmp_path / "r.html", features=FEATURES[:1])
    made = factor_report(project, request)
    of = made.factors[0].horizons[1]
    days = {np.datetime64(each, "us").astype(date) for each in weekly.decisions("NYSE:").tolist()}
    frame = rows_of(joined, FEATURES[0], "fwd_return_5d")
    frame = frame[frame["date"].dt.date.isin({each.date() for each in days})]
    assert (of.dates, of.rows) == (frame["date"].nunique(), len(frame))
    assert of.dates == 17  # weeks from 4 December to 26 March


def test_a_value_that_was_not_there_yet_lowers_the_coverage(made: FactorReport, joined: DataSet):
    of = made.factors[1]
    there = joined.table["momentum_60d"]
    assert of.asked == joined.table.num_rows
    assert of.coverage == pytest.approx(1 - there.null_count / len(there))


def test_as_of_an_instant_before_the_features_there_are_none(project: Project, tmp_path: Path):
    request = replace(REQUEST, out=tmp_path / "r.html", known_at=NOW - timedelta(days=1))
    with pytest.raises(InputError, match="is before"):
        factor_report(project, request)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"features": ["local_1d:RSY"]}, "RSY"),
        ({"features": ["graded:grade"]}, "graded:grade has no numbers to rank by, but string"),
        ({"features": ["graded:score"]}, "has no graded: run `tvfeast import-features`"),
        ({"min_symbols": 14}, "none of 83 dates has 14 symbols with a label: give a lower"),
        ({"schedule": Schedule(date(2019, 1, 1), date(2019, 2, 1))}, "no decision from 2019-01-01"),
        ({"universes": ("yours",)}, "there is no universe 'yours'"),
        ({"symbols": ("NYSE:XYZ",)}, "no bar of these symbols"),
    ],
)
def test_what_gives_no_figures_is_refused_with_what_to_do(
    project: Project, tmp_path: Path, changed: dict, said: str
):
    with pytest.raises(InputError, match=said):
        factor_report(project, replace(REQUEST, out=tmp_path / "r.html", **changed))


def test_total_and_excess_returns_are_measured_against_likewise(
    project: Project, joined: DataSet, made: FactorReport, tmp_path: Path
):
    (tmp_path / "paid.csv").write_text("symbol,ex_date,amount\nNASDAQ:INTC,2021-02-05,30\n")
    import_bars(project, ImportRequest(dividends=tmp_path / "paid.csv"))
    excess = "excess_fwd_return_5d,benchmark=NASDAQ:MSFT"
    targets = ("total_return_5d", excess)
    out = tmp_path / "r.html"
    words = ["factor-report", FEATURES[0], "--from", str(SPAN.first), "--to", str(SPAN.last),
             *(word for each in targets for word in ("--target", each)),
             "--out", str(out), "--json"]  # fmt: skip
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    (of,) = report["factors"]
    total, over = of["horizons"]
    assert [total["target"], over["target"]] == [*targets]
    assert report["dropped"].keys() == {*targets}
    # The benchmark's return is the same for all symbols of a date, so their ranks are as before.
    plain = made.factors[0].horizons[1]
    assert over["ic"] == pytest.approx(plain.ic, abs=1e-12)
    assert over["quantile_excess"] == pytest.approx(plain.quantile_excess, abs=1e-12)
    assert over["quantile_returns"] != pytest.approx(plain.quantile_returns, abs=1e-6)
    # 30 dollars of Intel: of five sessions the ex-date is one after the first, for four entries.
    frame = rows_of(joined, FEATURES[0], "fwd_return_5d")
    bars = pd.read_parquet(SAMPLE / "bars.parquet")
    bars = bars[bars["symbol"] == "NASDAQ:INTC"].sort_values("timestamp")
    opened = pd.to_datetime(bars["timestamp"], unit="s", utc=True)
    ex = pd.Timestamp("2021-02-05", tz="UTC")
    entries = bars[opened < ex].tail(4)
    decided = pd.to_datetime(bars["timestamp"].shift(1)[entries.index], unit="s", utc=True)
    paid = dict(zip(decided.dt.date, 30 / entries["open"], strict=True))
    of_intel = frame["symbol"] == "NASDAQ:INTC"
    frame.loc[of_intel, "label"] += frame["date"].dt.date[of_intel].map(paid).fillna(0.0)
    ic = frame.groupby("date").apply(
        lambda g: stats.spearmanr(g["factor"], g["label"])[0], include_groups=False
    )
    assert total["ic"] == pytest.approx(ic.mean(), abs=1e-12) != plain.ic
    page = out.read_text()
    assert f"--target {targets[0]}" in page
    assert f"--target {excess}" in page


def test_each_combination_counts_once_and_raises_the_threshold(
    project: Project, made: FactorReport, tmp_path: Path
):
    week = Schedule(date(2021, 1, 4), date(2021, 1, 8))
    request = replace(REQUEST, schedule=week, out=tmp_path / "r.html")
    before = factor_report(project, replace(request, quantiles=3))
    assert before.threshold == threshold(before.tried)
    some = factor_report(project, replace(request, symbols=NAMES[:12], horizons=(1, 7)))
    assert some.tried == before.tried + 4
    assert some.threshold > before.threshold
    receipt = json.loads(some.receipt.read())
    assert {each["universe"] for each in receipt["tried"]} == {some.factors[0].universe}
    _, kept = not_needed(project, "9")
    assert kept[receipt["run_id"]] == "its receipt says which features were tried"
    # A report that failed has tried nothing.
    with pytest.raises(InputError):
        factor_report(project, replace(request, min_symbols=99, horizons=(9,)))
    assert factor_report(project, request).tried == some.tried
    assert some.receipt.name == RECEIPT_FILE


def test_the_command_prints_one_object_and_imports_no_feast(stocked: Path, tmp_path: Path):
    words = ["factor-report", "momentum_60d", "--from", "2021-01-04", "--to", "2021-02-26",
             "--horizon", "5", "--json", "--out", str(tmp_path / "r.html")]  # fmt: skip
    script = (
        "import sys; from ingestion.cli.commands import cli\n"
        f"cli({words!r}, standalone_mode=False)\n"
        "sys.exit('feast' in sys.modules)"
    )
    environment = {
        **access(),
        "TVFEAST_PROJECT": str(stocked),
        "TVFEAST_LAKEHOUSE": str(placed(stocked / "data" / "lakehouse")),
        "TVFEAST_NOW": NOW.isoformat(),
        "PATH": "/bin",
    }
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    (of,) = report["factors"][0]["horizons"]
    assert (of["horizon"], of["dates"]) == (5, 38)
    assert set(report["factors"][0]["decay"]) == {"lags", "ic", "half_life"}
    assert done.stderr.startswith("warning: survivors")


def test_the_text_has_a_line_per_combination(project: Project, tmp_path: Path):
    words = ["factor-report", *FEATURES, "--from", "2021-01-04", "--to", "2021-02-26",
             "--horizon", "1", "--horizon", "5", "--out", str(tmp_path / "r.html")]  # fmt: skip
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.output
    lines = [line for line in result.stdout.splitlines() if line.startswith("local_1d:")]
    assert len(lines) == 4
    assert "the threshold after" in result.stdout


@pytest.mark.parametrize(
    "words",
    [
        ["--universe", "mine", "--candidates", "x.json"],
        ["--horizon", "0"],
        ["--every", "x"],
        ["--target", "sign_fwd_return_5d"],
        ["--target", "total_return_5d", "--horizon", "5"],
    ],
)
def test_bad_usage_ends_with_2(project: Project, words: list[str]):
    given = ["factor-report", "momentum_60d", "--from", "2021-01-04", "--to", "2021-02-26", *words]
    result = CliRunner().invoke(cli, given)
    assert getattr(result.exception, "exit_code", result.exit_code) == 2


def test_the_command_on_a_page_asks_for_what_the_page_shows(made: FactorReport):
    shown = replace(
        made.request,
        schedule=replace(made.request.schedule, every="week"),
        horizons=(5, 20),
        quantiles=3,
        min_symbols=4,
        entry="close",
        known_at=made.known_at,
        as_recorded=True,
    )
    for request in (made.request, shown):
        _, _, *words = shlex.split(command_of(replace(made, request=request)))
        found = factor_command.make_context("factor-report", words).params
        asked = {name: getattr(request, name) for name in found.keys() & vars(request).keys()}
        asked |= {name: getattr(request.schedule, name) for name in ("first", "last", "every")}
        horizons = asked.pop("horizons")
        assert found["horizons"] in (horizons, () if horizons == HORIZONS else None)
        for name in asked.keys() - {"features", "out", "symbols"}:
            assert found[name] == asked[name], name
        assert [each.rpartition(":")[2] for each in found["features"]] == [
            each.rpartition(":")[2] for each in request.features
        ]


@pytest.mark.skipif(CHROMIUM is None, reason=WHY_NOT)
def test_the_page_is_readable_light_and_dark_wide_and_narrow(
    project: Project, made: FactorReport, tmp_path: Path
):
    request = replace(REQUEST, out=tmp_path / "two.html", universes=("mine",))
    factor_report(project, request)
    with browser(tmp_path) as page:
        for path in (made.out, request.out):
            for width in (1400, 400):
                for dark in (False, True):
                    page.open(path.as_uri(), width, dark=dark)
                    assert not faults(page), (path, width, dark)
        commands = page.run(
            "[...document.querySelectorAll('figure.plot button.copy')].map((b) => b.dataset.copy)"
        )
    text = made.out.read_text()
    assert "Does a feature rank what follows?" in text
    assert len(commands) > 10
    assert all(each.startswith("tvfeast factor-report local_1d:") for each in commands)
