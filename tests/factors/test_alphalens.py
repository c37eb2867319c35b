"""Equal to alphalens on the same rows; vectorbt and Polars take the frames: programs apart."""

from __future__ import annotations

import json
import subprocess
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ingestion.datasets import (
    DataSet,
    adjusted_prices,
    alphalens_factor,
    alphalens_returns,
    wide_frame,
    wide_table,
)
from ingestion.jobs.factor.factor_report import FactorReport, FactorRequest, factor_report
from ingestion.jobs.serve.targets import read_bars, training_labels
from ingestion.project import Project
from tests.factors.conftest import CHANGED, KNOWN, NAMES, SPAN, sector

ROOT = Path(__file__).resolve().parents[2]
PYTHON = ROOT / ".venv-research" / "bin" / "python"

pytestmark = pytest.mark.skipif(not PYTHON.exists(), reason="make research-tools installs it")


@pytest.fixture
def report(project: Project, tmp_path: Path) -> FactorReport:
    request = FactorRequest(["local_1d:RSI"], SPAN, tmp_path / "report.html", horizons=(1, 5))
    return factor_report(project, request)


def sectors_of(factor: pd.Series) -> pd.DataFrame:
    """The sector of each row, as it was known then."""
    dates, assets = (factor.index.get_level_values(name) for name in ("date", "asset"))
    changed = (assets == "NASDAQ:INTC") & (dates >= CHANGED)
    names = np.where(changed, "Finance", [sector(asset) for asset in assets])
    return pd.DataFrame({"sector": np.where(dates >= KNOWN, names, "not known")}, factor.index)


def test_the_figures_are_those_of_alphalens_and_the_frames_are_taken(
    project: Project, report: FactorReport, joined: DataSet, tmp_path: Path
):
    factor = alphalens_factor(joined.table, "RSI")
    bars = read_bars(project.lakehouse, date(2020, 11, 25), date(2021, 4, 12), NAMES)
    bars = bars.set_column(1, "symbol", bars["symbol"].cast(pa.string()))
    prices = wide_frame(adjusted_prices(bars), "price")
    factor.to_frame().to_parquet(tmp_path / "factor.parquet")
    alphalens_returns(joined.table).to_parquet(tmp_path / "returns.parquet")
    sectors_of(factor).to_parquet(tmp_path / "sectors.parquet")
    prices.to_parquet(tmp_path / "prices.parquet")
    signals = wide_frame(joined.table, "RSI").reindex(prices.index)
    signals.to_parquet(tmp_path / "signals.parquet")
    pq.write_table(wide_table(joined.table, "RSI"), tmp_path / "wide.parquet")
    (of,) = report.factors
    lags = {f"{each.horizon}D": each.lags for each in of.horizons}
    (tmp_path / "asked.json").write_text(json.dumps({"quantiles": 5, "lags": lags}))
    script = Path(__file__).with_name("with_alphalens.py")
    done = subprocess.run(
        [PYTHON, script, tmp_path], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    theirs = json.loads(done.stdout.splitlines()[-1])

    for ours in of.horizons:
        same = theirs["horizons"][f"{ours.horizon}D"]
        assert ours.rows == same["rows"]
        for name in ("ic", "ic_std", "t", "t_independent", "spread", "rank_autocorrelation"):
            assert getattr(ours, name) == pytest.approx(same[name], rel=1e-9), name
        for name in ("quantile_returns", "quantile_excess", "turnover"):
            assert getattr(ours, name) == pytest.approx(same[name], rel=1e-9), name
        by_year = {str(each.year): each.ic for each in ours.by_year}
        assert by_year == pytest.approx(same["by_year"], rel=1e-9)
        by_sector = {each.sector: each.ic for each in ours.by_sector}
        del same["by_sector"]["not known"]
        assert by_sector == pytest.approx(same["by_sector"], rel=1e-9)

    # Of prices, alphalens makes the returns that the labels are, from close to close.
    made = training_labels(
        project, ["fwd_return_1d", "fwd_return_5d"], SPAN.first, SPAN.last, "close"
    )
    labels = alphalens_returns(made.labels.table)
    index = pd.MultiIndex.from_tuples(
        [(pd.Timestamp(day), asset) for day, asset in theirs["own_index"]],
        names=["date", "asset"],
    )
    assert len(index) == len(factor)
    for name in ("1D", "5D"):
        own = np.array(theirs["own_returns"][name])
        assert own == pytest.approx(labels.loc[index, name].to_numpy(), rel=1e-9)
    low = signals < 30
    assert theirs["trades"] == (low & ~low.shift(1, fill_value=False)).to_numpy().sum() > 0
    assert len(theirs["total_return"]) == len(NAMES)
    assert theirs["polars"] == [83, ["date", *NAMES]]
