"""What alphalens, vectorbt and Polars make of frames; run by their own interpreter.

``python with_alphalens.py FOLDER`` reads the frames of the folder, and prints JSON.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import vectorbt as vbt
from alphalens import performance, utils
from scipy import stats
from statsmodels.regression.linear_model import OLS

warnings.simplefilter("ignore")


def frame(folder: Path, name: str) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{name}.parquet")


def figures(factor: pd.Series, returns: pd.DataFrame, sectors: pd.Series, asked: Any) -> Any:
    """The figures of one horizon."""
    quantiles, lags = asked["quantiles"], asked["lags"][returns.columns[0]]
    horizon = int(returns.columns[0].rstrip("D"))
    data = utils.get_clean_factor(
        factor, returns, groupby=sectors, quantiles=quantiles, max_loss=1.0
    )
    ic = performance.factor_information_coefficient(data).iloc[:, 0]
    by_sector = performance.factor_information_coefficient(data, by_group=True).iloc[:, 0]
    plain, _ = performance.mean_return_by_quantile(data, demeaned=False)
    excess, _ = performance.mean_return_by_quantile(data, demeaned=True)
    by_date, _ = performance.mean_return_by_quantile(data, by_date=True, demeaned=False)
    spread, _ = performance.compute_mean_returns_spread(by_date, quantiles, 1)
    numbers = data["factor_quantile"]
    turnover = [
        performance.quantile_turnover(numbers, each, horizon).mean()
        for each in range(1, quantiles + 1)
    ]
    there = ic.dropna()
    model = OLS(there.to_numpy(), np.ones(len(there)))
    fit = model.fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
    return {
        "rows": len(data),
        "ic": ic.mean(),
        "ic_std": ic.std(),
        "t": fit.tvalues[0],
        "t_independent": stats.ttest_1samp(there.iloc[::horizon], 0).statistic,
        "by_sector": by_sector.groupby("group").mean().to_dict(),
        "by_year": ic.groupby(ic.index.year).mean().to_dict(),
        "quantile_returns": plain.iloc[:, 0].tolist(),
        "quantile_excess": excess.iloc[:, 0].tolist(),
        "spread": 2 * spread.iloc[:, 0].mean(),  # it gives half of the money to each side
        "turnover": turnover,
        "rank_autocorrelation": performance.factor_rank_autocorrelation(data, horizon).mean(),
    }


def main(folder: Path) -> dict[str, Any]:
    asked = json.loads((folder / "asked.json").read_text())
    factor = frame(folder, "factor")["factor"]
    returns, sectors = frame(folder, "returns"), frame(folder, "sectors")["sector"]
    prices = frame(folder, "prices")
    own = utils.get_clean_factor_and_forward_returns(
        factor, prices, periods=(1, 5), quantiles=asked["quantiles"], max_loss=1.0
    )
    entries = frame(folder, "signals") < 30
    portfolio = vbt.Portfolio.from_signals(prices, entries, ~entries, freq="1D")
    wide = pl.read_parquet(folder / "wide.parquet")
    return {
        "horizons": {
            name: figures(factor, returns[[name]].dropna(), sectors, asked) for name in returns
        },
        "own_returns": {
            name: own[name].to_numpy().tolist()
            for name in utils.get_forward_returns_columns(own.columns)
        },
        "own_index": [[str(day), asset] for day, asset in own.index],
        "trades": int(portfolio.trades.count().sum()),
        "total_return": portfolio.total_return().tolist(),
        "polars": [wide.height, wide.columns],
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
