"""Feast's own stores are one commented line away in ``feature_store.yaml``."""

from __future__ import annotations

import re

import pandas as pd
import pytest

from ingestion.base.errors import FeastRepositoryError
from ingestion.jobs.compute.local_features import backfill
from ingestion.jobs.ingest.import_bars import ImportRequest, import_bars
from ingestion.jobs.serve.feast_repository import feast_calls, open_repository
from ingestion.jobs.serve.materialize import materialize
from ingestion.jobs.serve.verify_online import verify_online
from ingestion.lakehouse import list_parts, read_file
from ingestion.project import Project
from tests.conftest import SAMPLE
from tests.declared import LOCAL_1D, TV_TECHNICALS_1D
from tests.feast_repository.conftest import WEEK

FRIDAY = WEEK[-1]


@pytest.fixture
def on_stock_stores(writable_week: Project, at) -> Project:
    """The week, with each of our stores commented out and the line below it brought in."""
    at(FRIDAY)
    yaml = writable_week.feast_repository / "feature_store.yaml"
    text, changed = re.subn(
        r"^( +)(type: ingestion\.plugins\.\S+)\n +# (type: \S+)$",
        r"\1# \2\n\1\3",
        yaml.read_text(),
        flags=re.MULTILINE,
    )
    assert changed == 3
    yaml.write_text(text)
    import_bars(writable_week, ImportRequest((SAMPLE / "bars.parquet",)))
    backfill(writable_week, FRIDAY.date(), FRIDAY.date())
    return writable_week


@pytest.mark.filterwarnings("ignore:fetch_arrow_table:DeprecationWarning")
def test_they_apply_materialize_and_read(on_stock_stores: Project):
    materialize(on_stock_stores)
    store = open_repository(on_stock_stores)
    newest = read_file(list_parts(on_stock_stores.lakehouse, TV_TECHNICALS_1D)[-1])
    expected = dict(zip(newest["symbol"].to_pylist(), newest["RSI"].to_pylist(), strict=True))
    with feast_calls(on_stock_stores):
        online = store.get_online_features(
            [f"{TV_TECHNICALS_1D.name}:RSI", f"{LOCAL_1D.name}:momentum_60d"],
            {"symbol": ["NASDAQ:AAPL"]},
        ).to_dict()
        offline = store.get_historical_features(
            pd.DataFrame({"symbol": ["NASDAQ:AAPL"], "event_timestamp": [FRIDAY]}),
            [f"{TV_TECHNICALS_1D.name}:RSI"],
        ).to_df()
    assert online["RSI"] == offline["RSI"].tolist() == [expected["NASDAQ:AAPL"]]
    assert online["momentum_60d"] != [None]


def test_what_they_cannot_do_is_told(on_stock_stores: Project):
    materialize(on_stock_stores)
    with pytest.raises(FeastRepositoryError, match="WideSqliteOnlineStore"):
        verify_online(on_stock_stores)
